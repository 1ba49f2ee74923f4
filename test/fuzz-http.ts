/**
 * Fuzzes the listeners: `node test/fuzz-http.ts [--requests 1000000] [--seconds 600] [--seed N] [--carrier uws]`, each
 * carrier in turn. It ends with 1 where something is wrong. The same seed
 * makes the same requests on each connection; how far one gets depends on when answers come.
 */
import { parseArgs } from 'node:util'
import { FuzzHost } from './fuzz-http/run.ts'
import { CARRIERS, type Carrier } from './listener/stage.ts'

const { values } = parseArgs({
  options: { requests: { type: 'string' }, seconds: { type: 'string' }, seed: { type: 'string' }, carrier: { type: 'string' } },
})
const requests = Number(values.requests ?? process.env['SKEP_FUZZ_REQUESTS'] ?? 100_000)
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 32))
const carriers = values.carrier === undefined ? CARRIERS : [values.carrier as Carrier]

const host = await FuzzHost.start()
for (const carrier of carriers) {
  if (host.ports[carrier] === undefined) continue
  const report = await host.fuzz(carrier, { requests, seed, ...(values.seconds && { seconds: Number(values.seconds) }) })
  const rate = Math.round(report.requests / report.seconds)
  console.log(JSON.stringify({ ...report, rate }))
  if (report.faults.length > 0) process.exitCode = 1
}
host.stop()
