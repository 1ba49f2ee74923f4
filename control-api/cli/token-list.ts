import type { TokenRecord } from '../../host/records.ts'
import { API_ARGS, connect } from './client.ts'
import { defineCommand } from './command.ts'
import { printJson, printTable, shortDate } from './output.ts'

export default defineCommand({
  name: 'token list',
  description: 'Lists the tokens, without their texts.',
  example: 'skep token list',
  args: API_ARGS,
  async run(args) {
    const tokens = await (await connect(args)).all<TokenRecord>('/v1/tokens')
    if (args.json) return printJson(tokens)
    const rows = tokens.map(({ id, name, tenant, role, createdAt }) => [id, name, tenant, role, shortDate(createdAt)])
    printTable(['ID', 'NAME', 'TENANT', 'ROLE', 'CREATED (UTC)'], rows, 'No tokens.')
  },
})
