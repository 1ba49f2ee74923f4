import { API_ARGS, connect, functionPath } from './client.ts'
import { defineCommand, UsageError } from './command.ts'
import { print, printJson } from './output.ts'
import { shares } from './views.ts'
import type { Fn } from './views.ts'

export default defineCommand({
  name: 'traffic',
  description: 'Divides a function’s traffic among versions.',
  example: 'skep traffic hello 0123456789abcdef=90 fedcba9876543210=10',
  args: {
    name: { type: 'positional', description: 'The function.', required: true },
    shares: { type: 'positional', description: 'VERSION=PERCENT, adding up to 100.', required: true, rest: true },
    ...API_ARGS,
  },
  async run(args) {
    const versions = args.shares.map((share) => {
      const [, id, percent] = /^([0-9a-f]+)=(\d+(?:\.\d+)?)%?$/.exec(share) ?? []
      if (id === undefined) throw new UsageError(`${JSON.stringify(share)} is not VERSION=PERCENT.`)
      return { id, percent: Number(percent) }
    })
    const client = await connect(args)
    const fn = await client.call<Fn>(functionPath(args.name, '/deployment'), { method: 'PUT', json: { versions } })
    if (args.json) return printJson(fn)
    print(`${fn.name}: ${shares(fn.deployment!)}`)
  },
})
