import { EventEmitter } from 'node:events'
import { randomBytes } from 'node:crypto'
import { decodeBundle, hashBytes } from '../bundler/artifact.ts'
import type { Limits } from '../sandbox/limits.ts'
import type { SandboxFactory, SandboxSpec } from '../sandbox/sandbox.ts'
import { Call, WHOLE_BODY } from './call.ts'
import type { Config } from './config.ts'
import { SkepError } from './errors.ts'
import type { FunctionLog } from './instance.ts'
import type { Exchange } from './listener/listener.ts'
import type { Log } from './log.ts'
import type { Counters } from './metrics.ts'
import { Pool } from './pool.ts'
import type { VersionRef } from './pool.ts'
import { decodeRecord, keys, versionRecord } from './records.ts'
import type { FunctionRecord } from './records.ts'
import type { Notice } from './registry.ts'
import { Router } from './router.ts'
import type { Store } from './store/store.ts'

export interface HostEvents {
  /** A line of a function's console, or an error of it. */
  log: [entry: FunctionLog & { function: string; version: string }]
  /** An isolate came or went. */
  isolate: [change: { function: string; version: string; what: 'started' | 'failed'; reason?: string }]
}

export interface HostParts {
  config: Pick<Config, 'limits' | 'pool' | 'drainMs'>
  store: Store
  factory: SandboxFactory
  log: Log
  counters: Counters
}

/** The request path of one process: hostname → deployment → isolate. It has no listener of its own. */
export class HostCore extends EventEmitter<HostEvents> {
  readonly #store: Store
  readonly #config: HostParts['config']
  readonly #log: Log
  readonly #counters: Counters
  readonly #router: Router
  readonly #pool: Pool
  readonly #idPrefix = randomBytes(6).toString('hex')
  #lastId = 0
  #draining = false

  constructor(parts: HostParts) {
    super()
    this.#store = parts.store
    this.#config = parts.config
    this.#log = parts.log
    this.#counters = parts.counters
    this.#router = new Router(parts.store)
    this.#pool = new Pool({
      factory: parts.factory,
      load: (version) => this.#load(version),
      maxIsolates: parts.config.pool.maxIsolates,
      maxMemory: parts.config.pool.maxMemoryMb * 1_048_576,
      idleMs: parts.config.pool.idleMs,
      observer: {
        coldStart: (version, phases) => {
          this.#counters.coldStart(nameOf(version), phases.store + phases.start)
          this.emit('isolate', { function: nameOf(version), version: version.version, what: 'started' })
        },
        evicted: (reason) => this.#counters.evicted(reason),
        failed: (version, failure) => {
          this.#counters.failed(nameOf(version), failure.code)
          this.emit('isolate', { function: nameOf(version), version: version.version, what: 'failed', reason: failure.message })
        },
        log: (version, entry) => this.#functionLog(version, entry),
      },
    })
  }

  /** Runs one request. The exchange is always answered in the end. */
  handle(exchange: Exchange): void {
    const call = this.#createCall(exchange)
    const record = this.#router.peek(exchange.hostname)
    if (record !== undefined) {
      this.#runRecord(record ?? undefined, call)
      return
    }
    this.#router.find(exchange.hostname).then(
      (found) => this.#runRecord(found, call),
      (error: unknown) => this.#fail(call, error),
    )
  }

  /** Runs one request on a function by name, whatever its hostnames: its deployment, or the given version. */
  async invoke(tenant: string, fn: string, exchange: Exchange, version?: string): Promise<void> {
    const call = this.#createCall(exchange)
    try {
      if (version !== undefined) this.#runVersion({ tenant, function: fn, version }, call)
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

  stats(): ReturnType<Pool['stats']> {
    return this.#pool.stats()
  }

  /** New requests are answered `draining` from here on; those in flight finish. */
  async close(graceMs: number = this.#config.drainMs): Promise<void> {
    if (this.#draining) return
    this.#draining = true
    await this.#pool.close(graceMs)
  }

  #createCall(exchange: Exchange): Call {
    const requestId = `${this.#idPrefix}${(++this.#lastId).toString(36)}`
    const call = new Call(exchange, requestId, (ended) => this.#counters.request(ended.outcome, performance.now() - ended.startedAt))
    exchange.observe(call)
    return call
  }

  #runRecord(record: FunctionRecord | undefined, call: Call): void {
    const version = record === undefined ? undefined : chooseVersion(record)
    if (version === undefined) {
      call.exchange.discardBody()
      call.fail('unknown_host')
      return
    }
    this.#runVersion({ tenant: record!.tenant, function: record!.name, version }, call)
  }

  #runVersion(version: VersionRef, call: Call): void {
    const { bodyLength } = call.exchange
    if (this.#draining) {
      call.fail('draining')
    } else if (bodyLength > this.#config.limits.bodyBytes) {
      call.exchange.discardBody()
      call.fail('body_too_large')
    } else if (bodyLength > 0 && bodyLength <= WHOLE_BODY) {
      call.gather(() => this.#pool.run(version, call))
    } else {
      this.#pool.run(version, call)
    }
  }

  async #load({ tenant, function: fn, version }: VersionRef): Promise<SandboxSpec> {
    const key = keys.version(tenant, fn, version)
    const object = await this.#store.get(key)
    if (object === undefined || object === 'unchanged') throw new SkepError('not_found', `The store has no ${key}.`)
    const record = decodeRecord(versionRecord, key, object.bytes)
    const bundle = await this.#store.get(keys.bundle(record.bundle))
    if (bundle === undefined || bundle === 'unchanged') throw corrupt(keys.bundle(record.bundle), 'is missing')
    if (hashBytes(bundle.bytes) !== record.bundle) throw corrupt(keys.bundle(record.bundle), 'does not have the content that its name says')
    const limits: Limits = { ...this.#config.limits }
    for (const [name, value] of Object.entries(record.settings.limits)) limits[name as keyof Limits] = value
    return { name: `${tenant}/${fn}`, bundle: decodeBundle(bundle.bytes), env: record.settings.vars, limits }
  }

  #functionLog(version: VersionRef, entry: FunctionLog): void {
    const function_ = nameOf(version)
    this.#log[entry.level]({ function: function_, version: version.version, requestId: entry.requestId, console: true }, entry.text)
    this.emit('log', { ...entry, function: function_, version: version.version })
  }

  /** The last defence: a bare answer for the caller, the cause for the operator, and on. */
  #fail(call: Call, error: unknown): void {
    const code = error instanceof SkepError && error.status >= 400 && error.code !== 'not_found' ? error.code : 'internal'
    if (code === 'internal') this.#log.error({ requestId: call.requestId, err: error }, 'a request failed for a reason of our own')
    else this.#log.warn({ requestId: call.requestId, code, reason: (error as Error).message }, 'a request could not be served')
    call.exchange.discardBody()
    call.fail(code)
  }
}

/** By the deployment's percentages. */
function chooseVersion(record: FunctionRecord): string | undefined {
  const versions = record.deployment?.versions
  if (versions === undefined) return undefined
  if (versions.length === 1) return versions[0]!.id
  let mark = Math.random() * 100
  for (const { id, percent } of versions) {
    mark -= percent
    if (mark < 0) return id
  }
  return versions.at(-1)!.id
}

function nameOf(version: VersionRef): string {
  return `${version.tenant}/${version.function}`
}

function corrupt(key: string, what: string): SkepError {
  return new SkepError('store_corrupt', `The store's object ${key} ${what}. Deploy the function again.`)
}

