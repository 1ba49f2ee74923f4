import { API_ARGS, connect } from './client.ts'
import { defineCommand } from './command.ts'
import { print, printJson } from './output.ts'

export default defineCommand({
  name: 'token revoke',
  description: 'Revokes a token: on all hosts within 2 seconds.',
  example: 'skep token revoke 0123456789abcdef',
  args: { id: { type: 'positional', description: 'The id, as `skep token list` shows it.', required: true }, ...API_ARGS },
  async run(args) {
    await (await connect(args)).call(`/v1/tokens/${encodeURIComponent(args.id)}`, { method: 'DELETE' })
    if (args.json) return printJson({ revoked: args.id })
    print(`${args.id} is revoked.`)
  },
})
