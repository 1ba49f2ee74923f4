import { API_ARGS, connect, functionPath } from './client.ts'
import { defineCommand } from './command.ts'
import { clean, print, printJson, shortDate } from './output.ts'
import { hostsByFunction, shares, urlOf } from './views.ts'
import type { Fn, Quarantine, Route, Status } from './views.ts'

export default defineCommand({
  name: 'show',
  description: 'Shows a function: what answers, where, and what answered before.',
  example: 'skep show hello',
  args: { name: { type: 'positional', description: 'The function.', required: true }, ...API_ARGS },
  async run(args) {
    const client = await connect(args)
    const [fn, { items: history }, routes, { dataPort }, { items: watched }] = await Promise.all([
      client.call<Fn>(functionPath(args.name)),
      client.call<{ items: NonNullable<Fn['deployment']>[] }>(functionPath(args.name, '/deployments')),
      client.all<Route>('/v1/routes'),
      client.call<Status>('/v1/status'),
      client.call<{ items: Quarantine[] }>('/v1/quarantine'),
    ])
    const quarantine = watched.filter((item) => item.tenant === fn.tenant && item.function === fn.name)
    const hosts = hostsByFunction(routes).get(fn.name) ?? []
    const urls = hosts.map((host) => urlOf(host, dataPort))
    if (args.json) return printJson({ ...fn, hosts, urls, deployments: history, quarantine })
    print(`${fn.tenant}/${fn.name}, since ${shortDate(fn.createdAt)} UTC`)
    for (const url of urls) print(`  ${url}`)
    for (const { version, state, message } of quarantine) print(clean(`  ${version} ${state}: ${message}`))
    if (history.length === 0) print('  Nothing is deployed.')
    for (const deployment of history) {
      const now = deployment.id === fn.deployment?.id ? '  <- answers' : ''
      print(clean(`  #${deployment.id}  ${shortDate(deployment.createdAt)}  ${shares(deployment)}  by ${deployment.by}${now}`))
    }
  },
})
