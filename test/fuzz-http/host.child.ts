/** A host with every listener, in a process that may die of what is sent to it. Says its ports, and how it is. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { closeBundler } from '../../bundler/bundle.ts'
import { configSchema } from '../../host/config.ts'
import { HostCore } from '../../host/host.ts'
import { createHost } from '../../host/index.ts'
import { silentLog } from '../../host/log.ts'
import { Counters } from '../../host/metrics.ts'
import { openFileStore } from '../../host/store/file.ts'
import { createInlineFactory } from '../../sandbox/inline.ts'
import { CARRIERS, type Carrier, listenOn, whyNot } from '../listener/stage.ts'

/** What was sent in `x-token` comes back, and how much of a body came. */
const CODE = `export default { async fetch(request) {
  const body = request.body === null ? 0 : (await request.arrayBuffer()).byteLength
  return new Response((request.headers.get('x-token') ?? '-') + ' ' + body)
} }`

export interface ChildState {
  ports: Partial<Record<Carrier, number>>
  rss: number
  /** What the host's log says went wrong with us. */
  faults: string[]
}

const folder = await mkdtemp(join(tmpdir(), 'skep-fuzz-'))
const host = await createHost({ store: `file:${folder}`, placement: 'inline' })
await host.deploy('fuzz', { code: CODE, hosts: ['fuzz.test'], limits: { cpuMs: 10_000, wallMs: 60_000, concurrency: 1_000 } })
await host.close()
await closeBundler()

const faults: string[] = []
const log = silentLog()
// What a function did is in the log, too, and on a machine that stands still it may run out of time.
log.error = (fields: { console?: boolean }, ...rest: unknown[]) =>
  void (fields.console || faults.push(JSON.stringify([fields, ...rest])))
process.on('uncaughtException', (error) => faults.push(String(error.stack)))
process.on('unhandledRejection', (error) => faults.push(String((error as Error).stack)))
const config = configSchema.parse({ clients: { idleMs: 5_000, maxConnections: 2_000 } })
const factory = await createInlineFactory({ egress: config.egress, tainted: (taint) => faults.push(JSON.stringify(taint)) })
const core = new HostCore({ config, store: await openFileStore(folder), factory, log, counters: new Counters() })
const ports: ChildState['ports'] = {}
for (const carrier of CARRIERS) {
  if (carrier === 'h2' || whyNot(carrier) !== false) continue
  const handler = core.handle.bind(core)
  const listener = await listenOn(carrier, { port: 0, address: '127.0.0.1', limits: config.clients, handler })
  ports[carrier] = listener.port
  if (carrier === 'tls') ports.h2 = listener.port
}

const say = () => process.send!({ ports, rss: process.memoryUsage.rss(), faults } satisfies ChildState)
process.on('message', (message) => {
  if (message === 'state') {
    // Garbage is none of what has to be bounded.
    ;(globalThis as { gc?: () => void }).gc?.()
    say()
  }
})
process.on('disconnect', () => {
  void rm(folder, { recursive: true, force: true }).then(() => process.kill(process.pid, 'SIGKILL'))
})
say()
