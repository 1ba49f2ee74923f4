import { API_ARGS, connect, functionPath } from './client.ts'
import { defineCommand } from './command.ts'
import { printJson, printTable, shortDate } from './output.ts'
import type { Fn, Version } from './views.ts'

export default defineCommand({
  name: 'versions',
  description: 'Lists the versions of a function, newest first.',
  example: 'skep versions hello',
  args: { name: { type: 'positional', description: 'The function.', required: true }, ...API_ARGS },
  async run(args) {
    const client = await connect(args)
    const [fn, versions] = await Promise.all([
      client.call<Fn>(functionPath(args.name)),
      client.all<Version>(functionPath(args.name, '/versions')),
    ])
    const share = new Map(fn.deployment?.versions.map(({ id, percent }) => [id, percent]))
    const newest = versions
      .map((version) => ({ ...version, percent: share.get(version.id) ?? 0 }))
      .sort((a, b) => (a.createdAt < b.createdAt ? 1 : -1))
    if (args.json) return printJson(newest)
    const rows = newest.map(({ id, percent, createdAt, size, startCpuMs, settings, by }) => [
      id,
      percent === 0 ? '-' : `${Math.round(percent * 100) / 100}%`,
      shortDate(createdAt),
      `${Math.ceil(size / 1024)} kB`,
      `${startCpuMs} ms`,
      settings.tag || '-',
      by,
    ])
    printTable(['VERSION', 'SHARE', 'CREATED (UTC)', 'SIZE', 'START CPU', 'TAG', 'BY'], rows, 'No versions.')
  },
})
