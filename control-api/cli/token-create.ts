import type { TokenRecord } from '../../host/records.ts'
import { API_ARGS, connect } from './client.ts'
import { defineCommand, UsageError } from './command.ts'
import { note, print, printJson } from './output.ts'

export default defineCommand({
  name: 'token create',
  description: 'Creates a token and prints its text, once.',
  example: 'skep token create ci --role deploy --tenant shop',
  args: {
    name: { type: 'positional', description: 'What it is for; shown beside what it does.', required: true },
    role: { type: 'string', description: 'admin, deploy (default) or read.', valueHint: 'role' },
    ...API_ARGS,
    tenant: { type: 'string', description: 'Whose it is; * is an operator’s (default: the own tenant).', valueHint: 'name' },
  },
  async run(args) {
    const role = args.role ?? 'deploy'
    if (!['admin', 'deploy', 'read'].includes(role))
      throw new UsageError(`--role is admin, deploy or read, not ${JSON.stringify(role)}.`)
    const client = await connect({ ...args, tenant: undefined })
    const tenant = args.tenant === undefined ? {} : { tenant: args.tenant }
    const token = await client.call<TokenRecord & { token: string }>('/v1/tokens', {
      method: 'POST',
      json: { name: args.name, role, ...tenant },
    })
    if (args.json) return printJson(token)
    note(`Token ${token.id} (${token.role}, tenant ${token.tenant}). It is shown only now:`)
    print(token.token)
  },
})
