import { EventEmitter } from 'node:events'
import { randomBytes } from 'node:crypto'
import { decodeBundle, hashBytes } from '../bundler/artifact.ts'
import type { Bundle } from '../bundler/artifact.ts'
import { loopOf, passesIn } from '../sandbox/operations/cdn-loop.ts'
import type { SandboxFactory, SandboxSpec } from '../sandbox/sandbox.ts'
import { availableParallelism } from 'node:os'
import { Admission } from './admission.ts'
import { DATA_CODES } from './answer.ts'
import { Call, WHOLE_BODY } from './call.ts'
import { systemClock } from './clock.ts'
import type { Clock } from './clock.ts'
import type { Conduct, ConductRecord } from './conduct.ts'
import { ceilingsOf, tenantSettings } from './config.ts'
import type { Config } from './config.ts'
import { ERRORS, SkepError } from './errors.ts'
import type { FunctionLog } from './instance.ts'
import type { Exchange } from './listener/listener.ts'
import { limitsOf } from './limit-schemas.ts'
import type { Log } from './log.ts'
import { loopIdOf, MOST_PASSES } from './loop.ts'
import type { Counters } from './metrics.ts'
import { takeRequestHeaders } from './own-headers.ts'
import { stricter } from './placement.ts'
import { Pool } from './pool.ts'
import { Refusals } from './refusals.ts'
import type { VersionRef } from './pool.ts'
import { decodeRecord, keys, versionRecord } from './records.ts'
import type { FunctionRecord } from './records.ts'
import type { Notice } from './registry.ts'
import { chooseVersion, Router } from './router.ts'
import type { Store } from './store/store.ts'
import type { FunctionUse } from './usage.ts'

export interface HostEvents {
  /** A line of a function's console, or an error of it. */
  log: [entry: FunctionLog & { function: string; version: string }]
  /** An isolate came or went. */
  isolate: [change: { function: string; version: string; what: 'started' | 'failed'; reason?: string }]
}

export interface HostParts {
  config: Pick<Config, 'limits' | 'ceilings' | 'pool' | 'admission' | 'drainMs' | 'tenants'>
  store: Store
  factory: SandboxFactory
  /** What is remembered of how functions behave; without it, all are loaded. */
  conduct?: Conduct
  log: Log
  counters: Counters
  /** The share of the machine's cores that this process has; default: all. */
  cores?: number
  clock?: Clock
}

/** A version that requests go to, and whose account they are on. */
interface Target {
  version: VersionRef
  use: FunctionUse
}

/** Between two looks at what functions use, ms. */
const USAGE_INTERVAL = 1_000

/** The request path of one process: hostname → deployment → isolate. It has no listener of its own. */
export class HostCore extends EventEmitter<HostEvents> {
  readonly #store: Store
  readonly #config: HostParts['config']
  readonly #log: Log
  readonly #counters: Counters
  readonly #router: Router
  readonly #refusals: Refusals
  readonly #pool: Pool
  readonly #conduct: Conduct | undefined
  readonly #clock: Clock
  readonly #idPrefix = randomBytes(6).toString('hex')
  readonly #admission: Admission
  readonly #targets = new WeakMap<FunctionRecord, Target>()
  #usageTimer: object | undefined
  readonly #loopId: string
  #lastId = 0
  #draining = false

  constructor(parts: HostParts) {
    super()
    this.#store = parts.store
    this.#loopId = loopIdOf(parts.store)
    this.#config = parts.config
    this.#log = parts.log
    this.#counters = parts.counters
    this.#clock = parts.clock ?? systemClock
    this.#router = new Router(parts.store, { clock: this.#clock })
    this.#refusals = new Refusals(this.#clock)
    const { conduct } = parts
    this.#conduct = conduct
    const { usage } = this.#counters
    this.#admission = new Admission({
      config: parts.config,
      usage,
      cores: parts.cores ?? availableParallelism(),
      waited: (ms) => this.#counters.waited(ms),
    })
    this.#pool = new Pool({
      admission: this.#admission,
      factory: parts.factory,
      load: (version) => this.#load(version),
      maxIsolates: parts.config.pool.maxIsolates,
      maxMemory: parts.config.pool.maxMemoryMb * 1_048_576,
      idleMs: parts.config.pool.idleMs,
      clock: this.#clock,
      ...(conduct === undefined
        ? {}
        : {
            conduct: {
              refusal: (version) => conduct.refusal(nameOf(version), version.version),
              isProbe: (version) => conduct.isProbe(nameOf(version), version.version),
            },
          }),
      observer: {
        coldStart: (version, phases) => {
          this.#counters.coldStart(usage.of(version.tenant, version.function), phases.store + phases.start)
          this.#tell('isolate', { function: nameOf(version), version: version.version, what: 'started' })
        },
        evicted: (reason) => this.#counters.evicted(reason),
        failed: (version, failure) => {
          usage.limited(usage.of(version.tenant, version.function), failure.code)
          if (failure.code === 'bad_guest')
            this.#log.warn({ function: nameOf(version), version: version.version, reason: failure.message }, BAD_GUEST)
          this.#tell('isolate', { function: nameOf(version), version: version.version, what: 'failed', reason: failure.message })
        },
        notLoaded: (version, error, requestId) => this.#notLoaded(version, error, requestId),
        log: (version, entry) => this.#functionLog(version, entry),
      },
    })
    this.#tickUsage()
  }

  /** Runs one request. The exchange is always answered in the end, and nothing is thrown. */
  handle(exchange: Exchange): void {
    const call = this.#createCall(exchange)
    try {
      if (this.#draining) {
        call.fail('draining')
        return
      }
      const record = this.#router.peek(exchange.hostname)
      if (record === undefined) void this.#handleUnknown(call)
      else this.#runRecord(record ?? undefined, call)
    } catch (error) {
      this.#fail(call, error)
    }
  }

  async #handleUnknown(call: Call): Promise<void> {
    try {
      this.#runRecord(await this.#router.find(call.exchange.hostname), call)
    } catch (error) {
      this.#fail(call, error)
    }
  }

  /** Runs one request on a function by name, whatever its hostnames: its deployment, or the given version. */
  async invoke(tenant: string, fn: string, exchange: Exchange, version?: string): Promise<void> {
    const call = this.#createCall(exchange)
    try {
      if (version !== undefined) this.#run(this.#createTarget({ tenant, function: fn, version }), call)
      else this.#runRecord(await this.#router.findFunction(tenant, fn), call)
    } catch (error) {
      this.#fail(call, error)
    }
  }

  /** A change that somebody made: what this process has cached of it is read again. */
  notice(notice: Notice): void {
    this.#router.forget(notice)
    if (notice.type === 'function') this.#pool.forgetFailures(notice.tenant, notice.function)
  }

  /** Memory is short: what is at rest is dropped. */
  shed(): void {
    this.#pool.shed()
  }

  /** Tells the function's author what it did and when it may come back. */
  noteQuarantine({ name, version, offences, until }: ConductRecord): void {
    const last = offences.at(-1)
    const [tenant, fn] = name.split('/') as [string, string]
    const text = `quarantined: ${last === undefined ? 'for what an earlier version did' : `${last.kind}: ${last.message}`}. It is tried again from ${new Date(until).toISOString()} on.`
    this.#functionLog({ tenant, function: fn, version }, { requestId: '', level: 'error', text })
  }

  stats(): ReturnType<Pool['stats']> {
    return this.#pool.stats()
  }

  /** New requests are answered `draining` from here on; those in flight finish. */
  async close(graceMs: number = this.#config.drainMs): Promise<void> {
    if (this.#draining) return
    this.#draining = true
    this.#clock.clearTimeout(this.#usageTimer)
    this.#refusals.close()
    await this.#pool.close(graceMs)
  }

  #createCall(exchange: Exchange): Call {
    const requestId = `${this.#idPrefix}${(++this.#lastId).toString(36)}`
    const call = new Call(exchange, requestId, this.#clock.now(), this.#finished)
    call.refusals = this.#refusals
    exchange.observe(call)
    // The function may log the id, and must be able to rely on it being ours.
    const loop = takeRequestHeaders(exchange.headers)
    // Where whoever looks for it finds it at once.
    if (loop !== '') exchange.headers.push('cdn-loop', loop)
    exchange.headers.push('skep-request-id', requestId)
    return call
  }

  readonly #finished = (call: Call): void => {
    this.#counters.request(call.use, call.outcome, this.#clock.now() - call.startedAt)
    // One that an isolate has is in flight until the guest lets go of it.
    if (call.event === 0) this.#admission.left(call)
  }

  #tickUsage(): void {
    this.#counters.usage.tick(this.#clock.now())
    this.#usageTimer = this.#clock.setTimeout(() => this.#tickUsage(), USAGE_INTERVAL)
    // Counting alone keeps no process alive.
    ;(this.#usageTimer as Partial<NodeJS.Timeout>).unref?.()
  }

  #runRecord(record: FunctionRecord | undefined, call: Call): void {
    const version = record === undefined ? undefined : chooseVersion(record)
    if (version === undefined) call.fail('unknown_host')
    else this.#run(this.#targetOf(record!, version), call)
  }

  /** The same object for the same record, mostly: the pool knows an object again faster than a text. */
  #targetOf(record: FunctionRecord, version: string): Target {
    let target = this.#targets.get(record)
    if (target?.version.version === version && !target.use.isForgotten) return target
    target = this.#createTarget({ tenant: record.tenant, function: record.name, version })
    this.#targets.set(record, target)
    return target
  }

  #createTarget(version: VersionRef): Target {
    return { version, use: this.#counters.usage.of(version.tenant, version.function) }
  }

  #run({ version, use }: Target, call: Call): void {
    const { bodyLength } = call.exchange
    if (this.#draining) call.fail('draining')
    else if (passesIn(loopOf(call.exchange.headers), this.#loopId) >= MOST_PASSES) call.fail('loop_detected')
    else if (bodyLength > this.#config.limits.bodyBytes) call.fail('body_too_large')
    // Before its body is waited for: that takes memory too.
    else if (!this.#admission.enter(call, use)) return
    else if (bodyLength > 0 && bodyLength <= WHOLE_BODY) this.#gather(version, call)
    else this.#pool.run(version, call)
  }

  #gather(version: VersionRef, call: Call): void {
    call.gather(() => {
      call.waitsSince = this.#clock.now()
      this.#pool.run(version, call)
    })
  }

  async #load(ref: VersionRef): Promise<SandboxSpec> {
    const conduct = this.#conduct
    if (conduct === undefined) return this.#read(ref)
    const name = nameOf(ref)
    await conduct.admit(name, ref.version)
    try {
      return await this.#read(ref)
    } catch (error) {
      // Somebody else may have the try that it was given.
      if (conduct.isProbe(name, ref.version)) conduct.abandoned(name, ref.version)
      throw error
    }
  }

  async #read({ tenant, function: fn, version }: VersionRef): Promise<SandboxSpec> {
    const key = keys.version(tenant, fn, version)
    const object = await this.#store.get(key)
    if (object === undefined || object === 'unchanged') throw corrupt(key, 'is missing')
    const record = decodeRecord(versionRecord, key, object.bytes)
    if (record.id !== version) throw corrupt(key, 'is of another version')
    const bundleKey = keys.bundle(record.bundle)
    const bundle = await this.#store.get(bundleKey)
    if (bundle === undefined || bundle === 'unchanged') throw corrupt(bundleKey, 'is missing')
    if (hashBytes(bundle.bytes) !== record.bundle) throw corrupt(bundleKey, 'does not have the content that its name says')
    const limits = limitsOf(this.#config.limits, record.settings.limits, ceilingsOf(this.#config, tenant))
    const { cordon, egress, placement } = tenantSettings(this.#config, tenant)
    const strictest = stricter(placement ?? 'inline', record.settings.placement)
    const decoded = decodeStored(bundleKey, bundle.bytes)
    return {
      ...{ name: `${tenant}/${fn}`, version, tenant, cordon, egress, placement: strictest, loopId: this.#loopId },
      ...{ bundle: decoded, env: record.settings.vars, limits },
    }
  }

  #functionLog(version: VersionRef, entry: FunctionLog): void {
    const function_ = nameOf(version)
    this.#log[entry.level](
      { function: function_, version: version.version, requestId: entry.requestId, console: true },
      entry.text,
    )
    this.#tell('log', { ...entry, function: function_, version: version.version })
  }

  /** What a tenant did wrong is for the function's log; what went wrong with us or the store is the operator's to read. */
  #notLoaded(version: VersionRef, error: SkepError, requestId: string): void {
    if (ERRORS[error.code].whose === 'tenant') {
      const stack = error.details?.stack
      const text = typeof stack === 'string' && stack !== '' ? `${error.message}\n${stack}` : error.message
      this.#functionLog(version, { requestId, level: 'error', text: `${error.code}: ${text}` })
      return
    }
    this.#log.error(
      { function: nameOf(version), version: version.version, requestId, code: error.code, err: error },
      'a function could not be loaded',
    )
    this.#functionLog(version, { requestId, level: 'error', text: `${error.code}: the function could not be loaded` })
  }

  /** A listener that throws must not take the isolate's messages down with it. */
  #tell<K extends keyof HostEvents>(event: K, ...args: HostEvents[K]): void {
    try {
      // The map of events is too clever for `emit`'s own type.
      ;(this as EventEmitter).emit(event, ...args)
    } catch (error) {
      process.emitWarning(error instanceof Error ? error : String(error), {
        detail: `A listener of skep's '${event}' event threw.`,
      })
    }
  }

  /** The last defence: a bare answer for the caller, the cause for the operator, and on. */
  #fail(call: Call, error: unknown): void {
    const code = error instanceof SkepError && DATA_CODES.has(error.code) ? error.code : 'internal'
    if (code === 'internal')
      this.#log.error({ requestId: call.requestId, err: error }, 'a request failed for a reason of our own')
    else this.#log.warn({ requestId: call.requestId, code, reason: (error as Error).message }, 'a request could not be served')
    call.fail(code)
  }
}

const BAD_GUEST = 'a function broke the protocol between guest and host, as only an attack or a fault of the prelude does'

function nameOf(version: VersionRef): string {
  return `${version.tenant}/${version.function}`
}

function decodeStored(key: string, bytes: Uint8Array): Bundle {
  try {
    return decodeBundle(bytes)
  } catch {
    throw corrupt(key, 'is no bundle of this version of skep')
  }
}

function corrupt(key: string, what: string): SkepError {
  return new SkepError('store_corrupt', `The store's object ${key} ${what}. Deploy the function again.`)
}
