import { API_ARGS, connect } from './client.ts'
import { defineCommand } from './command.ts'
import { printJson, printTable, shortDate } from './output.ts'
import type { Route } from './views.ts'

export default defineCommand({
  name: 'route list',
  description: 'Lists the hostnames.',
  example: 'skep route list',
  args: API_ARGS,
  async run(args) {
    const routes = await (await connect(args)).all<Route>('/v1/routes')
    if (args.json) return printJson(routes)
    const rows = routes.map((route) => [route.hostname, route.function, shortDate(route.createdAt)])
    printTable(['HOST', 'FUNCTION', 'CREATED (UTC)'], rows, 'No hostnames yet. `skep route add HOST NAME` adds one.')
  },
})
