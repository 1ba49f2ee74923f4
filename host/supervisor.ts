import cluster from 'node:cluster'
import type { Worker } from 'node:cluster'
import { join } from 'node:path'
import { AggregatorRegistry, Counter, Gauge, Registry as MetricsRegistry } from 'prom-client'
import { childCommand, offerToKernel } from './child-command.ts'
import { childEnvironment } from './child-env.ts'
import { claimPort } from './claim-port.ts'
import type { ConductBook } from './conduct-book.ts'
import { changeOf } from './conduct-book.ts'
import { versionKey } from './conduct.ts'
import type { Config } from './config.ts'
import { SkepError } from './errors.ts'
import { kernelBound, memoryBounds } from './guard.ts'
import { Heartbeat } from './heartbeat.ts'
import type { Credential } from './listener/certificates.ts'
import type { Log } from './log.ts'
import { MemoryGroups } from './memory-cgroup.ts'
import type { MemoryGroup } from './memory-cgroup.ts'
import type { Notice } from './registry.ts'
import type { FromWorker, ToWorker, WorkerStats } from './supervision.ts'
import type { UsageLine } from './usage.ts'

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
/** The kernel's score of a worker when memory runs out: after cells, before the supervisor. */
const OOM_SCORE = 250

type Metrics = FromWorker & { type: 'metrics' }

interface Member {
  worker: Worker
  /** starting → listening → leaving → gone */
  state: 'starting' | 'listening' | 'leaving'
  startedAt: number
  heart: Heartbeat | undefined
  /** What runs in it, as far as it was heard of. */
  active: { name: string; version: string }[]
  /** Where the kernel holds it to a limit of its own. */
  group: MemoryGroup | undefined
  /** Versions that it was given to try, by key. */
  tries: Map<string, { name: string; version: string }>
}

/**
 * Starts the workers, watches them, and replaces those that end, hang or are tainted. They share the data port, and the
 * record of conduct that this process keeps.
 * Uses Node's cluster module, so there is one in a process.
 */
export class Supervisor {
  #config: Config
  readonly #log: Log
  readonly #book: ConductBook
  readonly #groups: MemoryGroups | undefined
  readonly #members = new Set<Member>()
  readonly #metricsWaiters = new Map<number, (reply: Metrics) => void>()
  readonly #registry = new MetricsRegistry()
  readonly #restarts = new Counter({
    name: 'skep_worker_restarts_total',
    help: 'Workers that were replaced: crash, taint, hung, memory, or reload of the configuration.',
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

  private constructor(config: Config, log: Log, book: ConductBook, groups: MemoryGroups | undefined) {
    this.#config = config
    this.#log = log
    this.#book = book
    this.#groups = groups
    book.watch((change) => {
      for (const member of this.#members) post(member, { type: 'standing', changes: [change] })
    })
  }

  /** Rejects with `port_in_use`, `invalid_config` and the like when the first worker cannot serve. */
  static async start(
    config: Config,
    log: Log,
    book: ConductBook,
    { credentials = [], groups }: { credentials?: Credential[]; groups?: MemoryGroups | undefined } = {},
  ): Promise<Supervisor> {
    const supervisor = new Supervisor(config, log, book, groups)
    supervisor.#port = await claimPort(config.port, config.address, 'data port', '--port')
    if (credentials.length > 0) {
      const port = await claimPort(config.tls.port, config.address, 'TLS port', '--tls-port')
      // Sharing is what SO_REUSEPORT is for, and it would not object.
      if (port === supervisor.#port) throw new SkepError('invalid_config', `port and tls.port are both ${port}: choose another.`)
      supervisor.#tls = { port, credentials }
    }
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

  /** A version is on its way that nobody has run yet: every worker has a process for it when it comes. */
  warm(cordon: string): void {
    for (const member of this.#members) post(member, { type: 'warm', cordon })
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

  /** What functions use, by worker: of all tenants or of one. */
  async usage(tenant: string | undefined): Promise<UsageLine[]> {
    const listening = [...this.#members].filter((member) => member.state !== 'starting')
    const replies = await Promise.all(listening.map((member) => this.#askMetrics(member, tenant ?? '*')))
    return replies.flatMap((reply) => reply?.usage ?? [])
  }

  /** Replaces the workers one by one with ones of this configuration: each listens before the old one drains. */
  async reload(config: Config): Promise<void> {
    this.#config = config
    if (this.#groups !== undefined) this.#groups.limitBytes = kernelBound(config, memoryBounds(config).hard)
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
    this.#groups?.sweep()
  }

  async #startMember(): Promise<string> {
    const group = this.#groups?.create()
    const worker = fork(group?.procs)
    const startedAt = performance.now()
    const member: Member = { worker, state: 'starting', startedAt, heart: undefined, active: [], group, tries: new Map() }
    this.#members.add(member)
    if (worker.process.pid !== undefined) offerToKernel(worker.process.pid, OOM_SCORE)
    return new Promise((resolve, reject) => {
      const patience = setTimeout(() => {
        reject(new SkepError('internal', `A worker did not listen within ${START_PATIENCE} ms`))
        worker.process.kill('SIGKILL')
      }, START_PATIENCE)
      worker.on('message', (message: FromWorker) => {
        if (message.type === 'listening') {
          clearTimeout(patience)
          member.state = 'listening'
          member.heart = this.#watch(member)
          resolve(message.reason)
        } else if (message.type === 'failed') {
          reject(new SkepError(message.code, message.message))
          worker.process.kill('SIGKILL')
        } else {
          this.#receive(member, message)
        }
      })
      // It could not be forked: no descriptors, no processes, no memory. Then there is no 'exit'.
      worker.on('error', (error) => {
        if (worker.process.pid !== undefined) return
        clearTimeout(patience)
        this.#members.delete(member)
        group?.remove()
        delete cluster.workers?.[worker.id]
        reject(new SkepError('internal', `A worker could not be started: ${error.message}`, { cause: error }))
      })
      worker.once('exit', (code, signal) => {
        clearTimeout(patience)
        this.#members.delete(member)
        member.heart?.stop()
        const outgrown = signal === 'SIGKILL' ? group?.outgrown() : undefined
        group?.remove()
        // Those of its cells, which end with it.
        this.#groups?.sweep()
        for (const { name, version } of member.tries.values()) this.#book.abandoned(name, version)
        reject(new SkepError('internal', `A worker ended before it listened (${signal ?? code})`))
        if (member.state === 'listening') this.#crashed(member, signal ?? String(code), outgrown)
      })
      const known = this.#book.records().map(changeOf)
      const memory = memoryBounds(this.#config)
      const settings = { config: this.#config, port: this.#port, memory, groups: this.#groups?.settings }
      post(member, { type: 'start', ...settings, known, tls: this.#tls })
    })
  }

  #receive(member: Member, message: Exclude<FromWorker, { type: 'listening' | 'failed' }>): void {
    const book = this.#book
    switch (message.type) {
      case 'metrics':
        this.#metricsWaiters.get(message.id)?.(message)
        break
      case 'pong':
        member.heart?.answered()
        break
      case 'active':
        member.active = message.versions
        break
      case 'tainted':
        void this.#replace(member, 'taint', { taint: message.taint })
        break
      case 'over_memory':
        void this.#replace(member, 'memory', { rssBytes: message.rssBytes, largest: message.largest })
        break
      case 'ran':
        for (const { name, version, clean, cpuMs } of message.reports) {
          if (clean > 0) member.tries.delete(versionKey(name, version))
          book.ran(name, version, clean, cpuMs)
        }
        break
      case 'offence':
        member.tries.delete(versionKey(message.name, message.version))
        book.offence(message.name, message.version, message.report)
        break
      case 'abandoned':
        member.tries.delete(versionKey(message.name, message.version))
        book.abandoned(message.name, message.version)
        break
      case 'ask':
        this.#admit(member, message)
        break
    }
  }

  #admit(member: Member, { id, name, version }: FromWorker & { type: 'ask' }): void {
    const refusal = this.#book.ask(name, version)
    const record = this.#book.recordsOf(name).find((one) => one.version === version)!
    if (refusal === undefined && record.state === 'half_open') member.tries.set(versionKey(name, version), { name, version })
    post(member, { type: 'admitted', id, change: changeOf(record), refusal })
  }

  #watch(member: Member): Heartbeat {
    return new Heartbeat({
      beat: () => post(member, { type: 'ping' }),
      hung: (seconds) => void this.#replace(member, 'hung', { seconds }),
    })
  }

  /** It ended, or does not answer, while these ran in it: each is kept alone until it has shown that it was not the one. */
  #suspect(member: Member, message: string): void {
    for (const { name, version } of member.active.splice(0))
      this.#book.offence(name, version, { kind: 'process_lost', message, alone: false })
  }

  #crashed(member: Member, how: string, outgrown: ReturnType<MemoryGroup['outgrown']>): void {
    this.#restarts.inc({ reason: outgrown === undefined ? 'crash' : 'memory' })
    if (this.#closing) return
    const why = outgrown === undefined ? how : `at ${outgrown.limitMb} MB, by the kernel`
    this.#suspect(member, `A worker ended (${why}) while it ran there`)
    this.#crashes = performance.now() - member.startedAt > HEALTHY ? 1 : this.#crashes + 1
    const pause = Math.min(RESTART_MOST, RESTART_FIRST * 2 ** (this.#crashes - 1))
    const what = outgrown === undefined ? 'ended by itself' : 'reached the limit of its memory cgroup'
    this.#log.error({ pid: member.worker.process.pid, how, ...outgrown, pauseMs: pause }, `a worker ${what} and is started again`)
    this.#startLater(pause)
  }

  #startLater(pause: number): void {
    // A replacement that was on its way when the host began to close: nobody would drain the next one.
    if (this.#closing) return
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

  /** The new one listens before the old one goes. */
  async #replace(member: Member, reason: 'taint' | 'memory' | 'hung', details: object): Promise<void> {
    if (member.state !== 'listening' || this.#closing) return
    member.state = 'leaving'
    this.#log.warn({ pid: member.worker.process.pid, reason, ...details }, 'a worker is replaced')
    this.#restarts.inc({ reason })
    try {
      await this.#startMember()
    } catch (error) {
      this.#log.error({ err: error }, 'a worker could not be replaced at once')
      this.#startLater(RESTART_FIRST)
    }
    if (reason !== 'hung') {
      this.#drain(member)
      return
    }
    this.#suspect(member, 'A worker did not answer any more while it ran there')
    member.worker.process.kill('SIGKILL')
  }

  #drain(member: Member): void {
    member.state = 'leaving'
    member.heart?.stop()
    post(member, { type: 'drain' })
    const kill = setTimeout(() => member.worker.process.kill('SIGKILL'), this.#config.drainMs + KILL_MARGIN)
    member.worker.once('exit', () => clearTimeout(kill))
  }

  async #askMetrics(member: Member, usageOf?: string): Promise<(Metrics & { pid: number }) | undefined> {
    const id = ++this.#lastMetrics
    const reply = await new Promise<Metrics | undefined>((resolve) => {
      const timer = setTimeout(resolve, METRICS_PATIENCE, undefined)
      this.#metricsWaiters.set(id, (message) => {
        clearTimeout(timer)
        resolve(message)
      })
      post(member, { type: 'metrics', id, ...(usageOf === undefined ? {} : { usageOf }) })
    })
    this.#metricsWaiters.delete(id)
    return reply === undefined ? undefined : { ...reply, pid: member.worker.process.pid! }
  }
}

/** Whose end is bound to this process's; see `childCommand`. */
function fork(group: string | undefined): Worker {
  const { command, before, after } = childCommand({ group })
  const execArgv = [...before, '--no-node-snapshot', '--disable-warning=ExperimentalWarning']
  cluster.setupPrimary({ exec: ENTRY, execArgv, args: after, serialization: 'advanced' })
  // The cluster module starts what this names, and has no setting for it.
  const node = process.execPath
  process.execPath = command
  try {
    return cluster.fork(childEnvironment())
  } finally {
    process.execPath = node
  }
}

function post(member: Member, message: ToWorker): void {
  if (member.worker.isConnected()) member.worker.send(message, () => {})
}
