import { availableParallelism } from 'node:os'
import { createInlineFactory } from '../sandbox/inline.ts'
import type { Taint } from '../sandbox/sandbox.ts'
import { watchParent } from '../sandbox/parent-watch.ts'
import { WATCH_PARENT } from './child-command.ts'
import { ConductMirror } from './conduct-mirror.ts'
import { hostEgress } from './config.ts'
import { SkepError } from './errors.ts'
import { guardMemory } from './guard.ts'
import { HostCore } from './host.ts'
import { listen } from './listener/choose.ts'
import type { Exchange, Listener } from './listener/listener.ts'
import { listenTls, type TlsListener } from './listener/tls.ts'
import { createLog } from './log.ts'
import { MemoryGroups } from './memory-cgroup.ts'
import { Counters } from './metrics.ts'
import { PlacedFactory } from './placed-factory.ts'
import { openStore } from './store/open.ts'
import type { FromWorker, ToWorker } from './supervision.ts'

/** A worker: a process with a listener and the isolates placed inline in it, or with cells of its own. */

const counters = new Counters()
const mirror = new ConductMirror((message) => send(message))
let factory: PlacedFactory | undefined
let core: HostCore | undefined
let listener: Listener | undefined
let tls: TlsListener | undefined
let drainMs = 30_000
let draining = false

// A signal to the whole terminal's process group is the supervisor's to act on.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => {})
// Without its supervisor nobody would replace, drain or reload it, and its port would stay taken.
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'))
if (process.argv.includes(WATCH_PARENT)) watchParent()
process.on('message', (message: ToWorker) => void receive(message))

function send(message: FromWorker): void {
  if (process.connected) process.send!(message)
}

async function receive(message: ToWorker): Promise<void> {
  switch (message.type) {
    case 'start':
      await start(message).catch((error: unknown) => {
        const code = error instanceof SkepError ? error.code : 'internal'
        send({ type: 'failed', code, message: code === 'internal' ? String((error as Error).stack) : (error as Error).message })
      })
      break
    case 'certificates':
      tls?.renew(message.credentials)
      break
    case 'notice':
      core?.notice(message.notice)
      break
    case 'metrics': {
      const stats = core?.stats() ?? { ready: 0, loading: 0, draining: 0, memoryBytes: 0, inFlight: 0 }
      counters.isolates(stats)
      if (factory !== undefined) counters.cells(factory.counts())
      const metrics = (await counters.registry.getMetricsAsJSON()) as never
      const reply = {
        type: 'metrics',
        id: message.id,
        metrics,
        stats: { ...stats, rssBytes: process.memoryUsage.rss() },
      } as const
      const { usageOf } = message
      if (usageOf === undefined) send(reply)
      else send({ ...reply, usage: counters.usage.report(usageOf === '*' ? undefined : usageOf) })
      break
    }
    case 'warm':
      factory?.warm(message.cordon)
      break
    case 'ping':
      send({ type: 'pong' })
      break
    case 'drain':
      await drain()
      break
    default:
      mirror.receive(message)
  }
}

async function start({ config, port, known, memory, groups, tls: secure }: ToWorker & { type: 'start' }): Promise<void> {
  drainMs = config.drainMs
  const log = await createLog({ level: config.log.level, name: `worker ${process.pid}` })
  const store = await openStore(config.store ?? `file:${config.data}/store`, { s3: config.s3 })
  mirror.receive({ type: 'standing', changes: known })
  const egress = hostEgress(config, port, secure?.port)
  const cores = Math.max(1, Math.floor(availableParallelism() / config.workers))
  const tainted = (taint: Taint) => {
    factory!.tainted(taint)
    send({ type: 'tainted', taint })
  }
  const isInline = config.placement === 'inline' || config.placement === 'adaptive'
  const inline = isInline ? { inline: await createInlineFactory({ egress, cores, tainted }) } : {}
  factory = new PlacedFactory({
    ...{ placement: config.placement, egress, log, cores, conduct: mirror, ...inline, memory },
    groups: groups === undefined ? undefined : new MemoryGroups(groups, { log }),
    active: (versions) => send({ type: 'active', versions }),
  })
  core = new HostCore({ config, store, factory, conduct: mirror, log, counters, cores })
  if (isInline) {
    guardMemory(
      {
        rssBytes: () => process.memoryUsage.rss(),
        shed: () => core!.shed(),
        retireLargest: () => factory!.retireLargest(),
        over: (rssBytes, largest) => send({ type: 'over_memory', rssBytes, largest }),
      },
      memory,
    )
  }
  process.on('uncaughtException', (error) => log.fatal({ err: error }, 'an exception that nobody caught: always a bug of skep'))
  process.on('unhandledRejection', (error) => log.fatal({ err: error }, 'a rejection that nobody handled: always a bug of skep'))
  const options = {
    address: config.address,
    shared: true,
    limits: config.clients,
    refused: seldom(() => log.warn({ limit: config.clients.maxConnections }, 'connections are refused: there are too many')),
    handler: (exchange: Exchange) => core!.handle(exchange),
  }
  const chosen = await listen({ ...options, port, kind: config.listener })
  listener = chosen.listener
  if (secure !== undefined) {
    const { minVersion } = config.tls
    tls = await listenTls({ ...options, port: secure.port, tls: { credentials: secure.credentials, minVersion } })
  }
  send({ type: 'listening', port: listener.port, listener: listener.kind, reason: chosen.reason })
}

async function drain(): Promise<void> {
  if (draining) return
  draining = true
  await Promise.all([listener?.close(drainMs), tls?.close(drainMs)])
  await core?.close(drainMs)
  // An isolate that cannot be interrupted would hold an ordinary exit up.
  process.kill(process.pid, 'SIGKILL')
}

/** Once in ten seconds, however often it is called. */
function seldom(run: () => void): () => void {
  let last = -Infinity
  return () => {
    const now = performance.now()
    if (now - last < 10_000) return
    last = now
    run()
  }
}
