import { API_ARGS, connect } from './client.ts'
import { defineCommand } from './command.ts'
import { print, printJson } from './output.ts'

export default defineCommand({
  name: 'route remove',
  description: 'Takes a hostname off its function.',
  example: 'skep route remove hello.localhost',
  args: { hostname: { type: 'positional', description: 'The hostname.', required: true }, ...API_ARGS },
  async run(args) {
    await (await connect(args)).call(`/v1/routes/${encodeURIComponent(args.hostname)}`, { method: 'DELETE' })
    if (args.json) return printJson({ removed: args.hostname })
    print(`${args.hostname} is removed.`)
  },
})
