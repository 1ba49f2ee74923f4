/** A parent with one cell, whose process id it prints; it then waits to be killed. */
import { CellFactory } from '../../host/cell.ts'
import { silentLog } from '../../host/log.ts'
import { handler, Probe } from './probe.ts'

const factory = new CellFactory({ egress: { allow: [], deny: [] }, log: silentLog() })
const probe = new Probe(factory, handler(`if (request.url.endsWith('/loop')) for (;;); return new Response('up')`), {
  limits: { cpuMs: 60_000 },
})
await probe.sandbox.ready
await probe.get()
if (process.argv[2] === 'busy') probe.send('/loop')
console.log(factory.pids[0])
setInterval(() => {}, 60_000)
