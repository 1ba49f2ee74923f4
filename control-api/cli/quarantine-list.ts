import { API_ARGS, connect } from './client.ts'
import { defineCommand } from './command.ts'
import { printJson, printTable, shortDate } from './output.ts'
import type { Quarantine } from './views.ts'

export default defineCommand({
  name: 'quarantine list',
  description: 'Lists functions that are not run, or kept alone, for what they did.',
  example: 'skep quarantine list',
  args: API_ARGS,
  async run(args) {
    const { items } = await (await connect(args)).call<{ items: Quarantine[] }>('/v1/quarantine')
    if (args.json) return printJson(items)
    const rows = items.map((item) => [
      `${item.tenant}/${item.function}`,
      item.version,
      item.state,
      item.until === undefined ? '–' : shortDate(item.until),
      item.message,
    ])
    printTable(['FUNCTION', 'VERSION', 'STATE', 'UNTIL (UTC)', 'WHAT IT DID'], rows, 'No function is in quarantine.')
  },
})
