import { API_ARGS, connect } from './client.ts'
import { defineCommand } from './command.ts'
import { print, printJson } from './output.ts'
import { urlOf } from './views.ts'
import type { Route, Status } from './views.ts'

export default defineCommand({
  name: 'route add',
  description: 'Routes a hostname to a function.',
  example: "skep route add '*.example.com' hello",
  args: {
    hostname: { type: 'positional', description: 'The hostname, or *.NAME for every name below it.', required: true },
    name: { type: 'positional', description: 'The function.', required: true },
    ...API_ARGS,
  },
  async run(args) {
    const client = await connect(args)
    const path = `/v1/routes/${encodeURIComponent(args.hostname)}`
    const route = await client.call<Route>(path, { method: 'PUT', json: { function: args.name } })
    if (args.json) return printJson(route)
    const { dataPort } = await client.call<Status>('/v1/status')
    print(`${urlOf(route.hostname, dataPort)} is ${route.function}`)
  },
})
