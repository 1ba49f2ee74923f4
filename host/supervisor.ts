import cluster from 'node:cluster'
import type { Worker } from 'node:cluster'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { AggregatorRegistry, Counter, Gauge, Registry as MetricsRegistry } from 'prom-client'
import { childEnvironment } from './child-env.ts'
import type { Config } from './config.ts'
import { SkepError } from './errors.ts'
import type { Credential } from './listener/certificates.ts'
import type { Log } from './log.ts'
import type { Taint } from '../sandbox/sandbox.ts'
import type { Notice } from './registry.ts'
import type { FromWorker, ToWorker, WorkerStats } from './supervision.ts'

const ENTRY = join(import.meta.dirname, import.meta.filename.endsWith('.ts') ? 'worker-main.ts' : 'worker-main.js')

/** How long a worker may take until it listens, ms. */
const START_PATIENCE = 60_000
/** How long a worker may take to report its metrics, ms. */
const METRICS_PATIENCE = 2_000
/** Pause before a worker that ended by itself is started again, ms: doubled each time, until one has lived for a while. */
const RESTART_FIRST = 100
const RESTART_MOST = 10_000
const HEALTHY = 10_000
/** What a drain may take beyond its own bound before the process is killed, ms. */
const KILL_MARGIN = 5_000

type Metrics = FromWorker & { type: 'metrics' }

interface Member {
  worker: Worker
  /** starting → listening → leaving → gone */
  state: 'starting' | 'listening' | 'leaving'
  startedAt: number
}

/**
 * Starts the workers, watches them, and replaces those that end or are tainted. They share the data port.
 * Uses Node's cluster module, so there is one in a process.
 */
export class Supervisor {
  #config: Config
  readonly #log: Log
  readonly #members = new Set<Member>()
  readonly #metricsWaiters = new Map<number, (reply: Metrics) => void>()
  readonly #registry = new MetricsRegistry()
  readonly #restarts = new Counter({
    name: 'skep_worker_restarts_total',
    help: 'Workers that were replaced: crash, taint, or reload of the configuration.',
    labelNames: ['reason'] as const,
    registers: [this.#registry],
  })
  readonly #workers = new Gauge({ name: 'skep_workers', help: 'Workers that listen.', registers: [this.#registry] })
  #lastMetrics = 0
  #port = 0
  /** Where TLS is served, and with what: kept here, so that a worker that is started again does not read half-written files. */
  #tls: { port: number; credentials: Credential[] } | undefined
  #crashes = 0
  #closing = false
  #restartTimers = new Set<NodeJS.Timeout>()

  private constructor(config: Config, log: Log) {
    this.#config = config
    this.#log = log
  }

  /** Rejects with `port_in_use`, `invalid_config` and the like when the first worker cannot serve. */
  static async start(config: Config, log: Log, credentials: Credential[] = []): Promise<Supervisor> {
    const supervisor = new Supervisor(config, log)
    supervisor.#port = await claimPort(config.port, config.address, 'data port', '--port')
    if (credentials.length > 0) {
      const port = await claimPort(config.tls.port, config.address, 'TLS port', '--tls-port')
      // Sharing is what SO_REUSEPORT is for, and it would not object.
      if (port === supervisor.#port) throw new SkepError('invalid_config', `port and tls.port are both ${port}: choose another.`)
      supervisor.#tls = { port, credentials }
    }
    cluster.setupPrimary({
      exec: ENTRY,
      execArgv: ['--no-node-snapshot', '--disable-warning=ExperimentalWarning'],
      args: [],
      serialization: 'advanced',
    })
    try {
      const reason = await supervisor.#startMember()
      log.info({ port: supervisor.#port, workers: config.workers }, reason)
      await Promise.all(Array.from({ length: config.workers - 1 }, () => supervisor.#startMember()))
    } catch (error) {
      await supervisor.close()
      throw error
    }
    return supervisor
  }

  get port(): number {
    return this.#port
  }

  /** Undefined where there are no certificates. */
  get tlsPort(): number | undefined {
    return this.#tls?.port
  }

  /** Every worker's new handshakes use these. */
  renew(credentials: Credential[]): void {
    if (this.#tls === undefined) return
    this.#tls.credentials = credentials
    for (const member of this.#members) post(member, { type: 'certificates', credentials })
  }

  /** Workers that listen, by process id. */
  get pids(): number[] {
    return [...this.#members].filter((member) => member.state === 'listening').map((member) => member.worker.process.pid!)
  }

  /** Tells every worker of a change. */
  notice(notice: Notice): void {
    for (const member of this.#members) post(member, { type: 'notice', notice })
  }

  /** Every worker's metrics and this process's own, merged, in Prometheus' text format; and what each worker holds. */
  async metrics(own: MetricsRegistry[] = []): Promise<{ text: string; workers: (WorkerStats & { pid: number })[] }> {
    this.#workers.set(this.pids.length)
    const listening = [...this.#members].filter((member) => member.state !== 'starting')
    const replies = await Promise.all(listening.map((member) => this.#askMetrics(member)))
    const known = replies.flatMap((reply) => (reply === undefined ? [] : [reply]))
    const mine = await Promise.all([this.#registry, ...own].map((registry) => registry.getMetricsAsJSON()))
    const merged = AggregatorRegistry.aggregate([...known.map((reply) => reply.metrics), ...mine] as never)
    return { text: await merged.metrics(), workers: known.map(({ stats, pid }) => ({ pid, ...stats })) }
  }

  /** Replaces the workers one by one with ones of this configuration: each listens before the old one drains. */
  async reload(config: Config): Promise<void> {
    this.#config = config
    const old = [...this.#members].filter((member) => member.state !== 'leaving')
    for (const [index, member] of old.entries()) {
      if (index < config.workers) await this.#startMember()
      this.#restarts.inc({ reason: 'reload' })
      this.#drain(member)
    }
    for (let count = old.length; count < config.workers; count++) await this.#startMember()
  }

  /** Drains every worker and waits for their ends. */
  async close(): Promise<void> {
    this.#closing = true
    for (const timer of this.#restartTimers) clearTimeout(timer)
    const ends = [...this.#members].map((member) => new Promise((resolve) => member.worker.once('exit', resolve)))
    for (const member of this.#members) this.#drain(member)
    await Promise.all(ends)
  }

  #startMember(): Promise<string> {
    const worker = cluster.fork(childEnvironment())
    const member: Member = { worker, state: 'starting', startedAt: performance.now() }
    this.#members.add(member)
    return new Promise((resolve, reject) => {
      const patience = setTimeout(() => {
        reject(new SkepError('internal', `A worker did not listen within ${START_PATIENCE} ms`))
        worker.process.kill('SIGKILL')
      }, START_PATIENCE)
      worker.on('message', (message: FromWorker) => {
        if (message.type === 'listening') {
          clearTimeout(patience)
          member.state = 'listening'
          resolve(message.reason)
        } else if (message.type === 'failed') {
          reject(new SkepError(message.code, message.message))
          worker.process.kill('SIGKILL')
        } else if (message.type === 'tainted') {
          void this.#replace(member, message.taint)
        } else {
          this.#metricsWaiters.get(message.id)?.(message)
        }
      })
      worker.once('exit', (code, signal) => {
        clearTimeout(patience)
        this.#members.delete(member)
        reject(new SkepError('internal', `A worker ended before it listened (${signal ?? code})`))
        if (member.state === 'listening') this.#crashed(member, signal ?? String(code))
      })
      post(member, { type: 'start', config: this.#config, port: this.#port, ...(this.#tls && { tls: this.#tls }) })
    })
  }

  #crashed(member: Member, how: string): void {
    this.#restarts.inc({ reason: 'crash' })
    if (this.#closing) return
    this.#crashes = performance.now() - member.startedAt > HEALTHY ? 1 : this.#crashes + 1
    const pause = Math.min(RESTART_MOST, RESTART_FIRST * 2 ** (this.#crashes - 1))
    this.#log.error({ pid: member.worker.process.pid, how, pauseMs: pause }, 'a worker ended by itself and is started again')
    this.#startLater(pause)
  }

  #startLater(pause: number): void {
    const timer = setTimeout(() => {
      this.#restartTimers.delete(timer)
      this.#startMember().catch((error: unknown) => {
        if (this.#closing) return
        this.#crashes++
        const next = Math.min(RESTART_MOST, RESTART_FIRST * 2 ** (this.#crashes - 1))
        this.#log.error({ err: error, pauseMs: next }, 'a worker could not be started')
        this.#startLater(next)
      })
    }, pause)
    this.#restartTimers.add(timer)
  }

  async #replace(member: Member, taint: Taint): Promise<void> {
    if (member.state !== 'listening' || this.#closing) return
    member.state = 'leaving'
    this.#log.warn({ pid: member.worker.process.pid, taint }, 'a worker is tainted and is replaced')
    this.#restarts.inc({ reason: 'taint' })
    try {
      await this.#startMember()
    } catch (error) {
      this.#log.error({ err: error }, 'a worker could not be replaced at once')
      this.#startLater(RESTART_FIRST)
    }
    this.#drain(member)
  }

  #drain(member: Member): void {
    member.state = 'leaving'
    post(member, { type: 'drain' })
    const kill = setTimeout(() => member.worker.process.kill('SIGKILL'), this.#config.drainMs + KILL_MARGIN)
    member.worker.once('exit', () => clearTimeout(kill))
  }

  async #askMetrics(member: Member): Promise<(Metrics & { pid: number }) | undefined> {
    const id = ++this.#lastMetrics
    const reply = await new Promise<Metrics | undefined>((resolve) => {
      const timer = setTimeout(resolve, METRICS_PATIENCE, undefined)
      this.#metricsWaiters.set(id, (message) => {
        clearTimeout(timer)
        resolve(message)
      })
      post(member, { type: 'metrics', id })
    })
    this.#metricsWaiters.delete(id)
    return reply === undefined ? undefined : { ...reply, pid: member.worker.process.pid! }
  }
}

function post(member: Member, message: ToWorker): void {
  if (member.worker.isConnected()) member.worker.send(message, () => {})
}

/**
 * The port to serve on, free at this moment. Workers share it with SO_REUSEPORT, by which two hosts of one user would
 * share it too, without a word and to the surprise of both: so it is first asked for exclusively.
 */
function claimPort(port: number, address: string, what: string, flag: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const inUse = cause.code === 'EADDRINUSE'
      const why = inUse
        ? `is in use. Stop what uses it, or choose another with ${flag} (0: any free one)`
        : `cannot be had (${cause.code})`
      reject(new SkepError(inUse ? 'port_in_use' : 'invalid_config', `The ${what} ${address}:${port} ${why}.`, { cause }))
    })
    server.listen({ port, host: address, exclusive: true }, () => {
      const { port: taken } = server.address() as AddressInfo
      server.close(() => resolve(taken))
    })
  })
}
