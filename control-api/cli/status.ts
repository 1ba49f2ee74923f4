import { API_ARGS, connect } from './client.ts'
import { defineCommand } from './command.ts'
import { clean, print, printJson } from './output.ts'
import type { Status } from './views.ts'

export default defineCommand({
  name: 'status',
  description: 'Shows the health of the host.',
  example: 'skep status',
  args: API_ARGS,
  async run(args) {
    const status = await (await connect(args)).call<Status & Record<string, unknown>>('/v1/status')
    if (args.json) return printJson(status)
    for (const [key, value] of Object.entries(status)) {
      print(clean(`${key}: ${typeof value === 'object' ? JSON.stringify(value) : String(value)}`))
    }
  },
})
