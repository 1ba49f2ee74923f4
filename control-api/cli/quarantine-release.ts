import { API_ARGS, connect } from './client.ts'
import { defineCommand } from './command.ts'
import { print, printJson } from './output.ts'

export default defineCommand({
  name: 'quarantine release',
  description: 'Lets a function be tried again at once. For operators.',
  example: 'skep quarantine release hello',
  args: { name: { type: 'positional', description: 'The function.', required: true }, ...API_ARGS },
  async run(args) {
    await (await connect(args)).call(`/v1/quarantine/${encodeURIComponent(args.name)}`, { method: 'DELETE' })
    if (args.json) return printJson({ released: args.name })
    print(`${args.name} is tried again with its next event.`)
  },
})
