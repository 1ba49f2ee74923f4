import type { Usage } from './views.ts'
import { API_ARGS, connect } from './client.ts'
import { defineCommand } from './command.ts'
import { print, printJson, printTable } from './output.ts'

/** Between two looks, ms: rates are averages over some seconds. */
const INTERVAL = 2_000

export default defineCommand({
  name: 'top',
  description: 'Shows which functions use the host: live on a terminal, once off one.',
  example: 'skep top',
  args: API_ARGS,
  async run(args) {
    const client = await connect(args)
    const look = () => client.call<Usage>('/v1/usage')
    if (args.json) return printJson(await look())
    if (!process.stdout.isTTY) return show(await look())
    for (;;) {
      const usage = await look()
      const rows = Math.max(1, (process.stdout.rows ?? 24) - 4)
      // From the top left, over what was there, and without what is left of it.
      process.stdout.write('\u001b[H\u001b[2J')
      show({ ...usage, items: usage.items.slice(0, rows) })
      await new Promise((resolve) => setTimeout(resolve, INTERVAL))
    }
  },
})

function show({ items, cores, windowSeconds }: Usage): void {
  const busy = items.reduce((sum, { share }) => sum + share, 0)
  print(`Functions: ${items.length}, with ${percent(busy)} of ${cores} cores; averages of the last ${windowSeconds} s`)
  const rows = items.map((item) => [
    `${item.tenant}/${item.name}`,
    percent(item.share),
    item.cpuMsPerSecond.toFixed(1),
    item.requestsPerSecond.toFixed(1),
    item.refusedPerSecond.toFixed(1),
    item.failedPerSecond.toFixed(1),
    String(item.inFlight),
    String(item.isolates),
    (item.memoryBytes / 1_048_576).toFixed(1),
  ])
  printTable(
    ['FUNCTION', 'SHARE', 'CPU MS/S', 'REQ/S', 'REFUSED/S', 'FAILED/S', 'IN FLIGHT', 'ISOLATES', 'MB'],
    rows,
    'Nothing runs.',
  )
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)}%`
}
