import { API_ARGS, connect, functionPath } from './client.ts'
import { defineCommand } from './command.ts'
import { print, printJson } from './output.ts'
import { shares } from './views.ts'
import type { Fn } from './views.ts'

export default defineCommand({
  name: 'rollback',
  description: 'Goes back to what answered before, or to a given version.',
  example: 'skep rollback hello',
  args: {
    name: { type: 'positional', description: 'The function.', required: true },
    version: { type: 'positional', description: 'Where to; default: what answered before.', required: false },
    ...API_ARGS,
  },
  async run(args) {
    const client = await connect(args)
    const json = args.version === undefined ? {} : { version: args.version }
    const fn = await client.call<Fn>(functionPath(args.name, '/rollback'), { method: 'POST', json })
    if (args.json) return printJson(fn)
    print(`${fn.name} is back at ${shares(fn.deployment!)}`)
  },
})
