import { availableParallelism } from 'node:os'
import { createInlineFactory } from '../sandbox/inline.ts'
import { CellFactory } from './cell.ts'
import type { Config } from './config.ts'
import { SkepError } from './errors.ts'
import { HostCore } from './host.ts'
import { listen } from './listener/choose.ts'
import type { Listener } from './listener/listener.ts'
import { createLog } from './log.ts'
import { Counters } from './metrics.ts'
import { openStore } from './store/open.ts'
import type { FromWorker, ToWorker } from './supervision.ts'

/** A worker: a process with a listener and the isolates placed inline in it, or with cells of its own. */

const counters = new Counters()
let core: HostCore | undefined
let listener: Listener | undefined
let drainMs = 30_000
let draining = false

// A signal to the whole terminal's process group is the supervisor's to act on.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => {})
// Without its supervisor nobody would replace, drain or reload it, and its port would stay taken.
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'))
process.on('message', (message: ToWorker) => void receive(message))

function send(message: FromWorker): void {
  if (process.connected) process.send!(message)
}

async function receive(message: ToWorker): Promise<void> {
  switch (message.type) {
    case 'start':
      await start(message.config, message.port).catch((error: unknown) => {
        const code = error instanceof SkepError ? error.code : 'internal'
        send({ type: 'failed', code, message: code === 'internal' ? String((error as Error).stack) : (error as Error).message })
      })
      break
    case 'notice':
      core?.notice(message.notice)
      break
    case 'metrics': {
      const stats = core?.stats() ?? { ready: 0, loading: 0, draining: 0, memoryBytes: 0, inFlight: 0 }
      counters.isolates(stats)
      const metrics = (await counters.registry.getMetricsAsJSON()) as never
      send({ type: 'metrics', id: message.id, metrics, stats: { ...stats, rssBytes: process.memoryUsage.rss() } })
      break
    }
    case 'drain':
      await drain()
      break
  }
}

async function start(config: Config, port: number): Promise<void> {
  drainMs = config.drainMs
  const log = await createLog({ level: config.log.level, name: `worker ${process.pid}` })
  const store = await openStore(config.store ?? `file:${config.data}/store`, { s3: config.s3 })
  const cores = Math.max(1, Math.floor(availableParallelism() / config.workers))
  const factory =
    config.placement === 'cell'
      ? new CellFactory({ egress: config.egress, log, cores })
      : await createInlineFactory({ egress: config.egress, cores, tainted: (taint) => send({ type: 'tainted', taint }) })
  core = new HostCore({ config, store, factory, log, counters })
  process.on('uncaughtException', (error) => log.fatal({ err: error }, 'an exception that nobody caught: always a bug of skep'))
  process.on('unhandledRejection', (error) => log.fatal({ err: error }, 'a rejection that nobody handled: always a bug of skep'))
  const chosen = await listen({
    port,
    address: config.address,
    shared: true,
    kind: config.listener,
    handler: (exchange) => core!.handle(exchange),
  })
  listener = chosen.listener
  send({ type: 'listening', port: listener.port, listener: listener.kind, reason: chosen.reason })
}

async function drain(): Promise<void> {
  if (draining) return
  draining = true
  await listener?.close(drainMs)
  await core?.close(drainMs)
  // An isolate that cannot be interrupted would hold an ordinary exit up.
  process.kill(process.pid, 'SIGKILL')
}
