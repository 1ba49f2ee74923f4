import { API_ARGS, connect } from './client.ts'
import { defineCommand } from './command.ts'
import { printJson, printTable, shortDate } from './output.ts'
import { hostsByFunction, shares } from './views.ts'
import type { Fn, Route } from './views.ts'

export default defineCommand({
  name: 'list',
  description: 'Lists the functions.',
  example: 'skep list',
  args: API_ARGS,
  async run(args) {
    const client = await connect(args)
    const [functions, routes] = await Promise.all([client.all<Fn>('/v1/functions'), client.all<Route>('/v1/routes')])
    const hosts = hostsByFunction(routes)
    if (args.json) return printJson(functions.map((fn) => ({ ...fn, hosts: hosts.get(fn.name) ?? [] })))
    const rows = functions.map(({ name, deployment, createdAt }) => [
      name,
      deployment === null ? '-' : shares(deployment),
      (hosts.get(name) ?? []).join(' ') || '-',
      shortDate(deployment?.createdAt ?? createdAt),
    ])
    printTable(
      ['NAME', 'VERSIONS', 'HOSTS', 'CHANGED (UTC)'],
      rows,
      'No functions yet. `skep deploy ENTRY --host HOST` brings one.',
    )
  },
})
