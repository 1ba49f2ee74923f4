import { LIGHT_MS } from '../sandbox/lanes.ts'
import type { Call } from './call.ts'
import type { Config } from './config.ts'
import type { ErrorCode } from './errors.ts'
import type { FunctionUse, Usage, Work } from './usage.ts'

/** What an event of an unknown function is expected to take, ms. */
const UNKNOWN_MS = 5

/** All tenants' work of one kind. */
interface Backlog {
  readonly all: Work
  /** Tenants that it is of. */
  tenants: number
  /** Isolates that work it off at once. */
  readonly lanes: number
}

export interface AdmissionOptions {
  /** `admission` and `tenants` of the configuration. */
  config: Pick<Config, 'admission' | 'tenants'>
  usage: Usage
  /** The share of the machine's cores that this process has. */
  cores: number
  /** An event was given to its isolate after so long, ms. */
  waited(ms: number): void
}

/**
 * Who may come in, before queues grow: a tenant has so many requests in flight in this process, and none is taken that
 * would wait for too long. What a tenant must wait for follows from the lanes: costly work does not hold light work up,
 * and of equals each tenant gets the same. So the work of others counts only up to the tenant's own, and nobody is
 * refused because somebody else fills the process. Two comparisons a request.
 */
export class Admission {
  readonly usage: Usage
  readonly #options: AdmissionOptions
  readonly #light: Backlog
  readonly #costly: Backlog

  constructor(options: AdmissionOptions) {
    this.#options = options
    this.usage = options.usage
    this.#light = { all: { micros: 0 }, tenants: 0, lanes: options.cores }
    this.#costly = { all: { micros: 0 }, tenants: 0, lanes: Math.max(1, options.cores - 1) }
  }

  /** Takes a call in, which counts from here on until `left`; or answers it, and says false. */
  enter(call: Call, use: FunctionUse): boolean {
    const { tenant } = use
    call.use = use
    call.admission = this
    if (tenant.most < 0) tenant.most = this.#mostOf(tenant.name)
    if (tenant.inFlight >= tenant.most) return this.#refuse(call, 'overloaded', 'inFlight')
    if (this.#waitMs(use) > this.#options.config.admission.maxWaitMs) return this.#refuse(call, 'saturated', 'maxWaitMs')
    tenant.inFlight++
    use.inFlight++
    call.isIn = true
    this.#queue(call, use)
    return true
  }

  /** Its batch has been through the isolate once: what it still does is waiting for others. `at`: when it was given to it. */
  ran(call: Call, at: number, laneMs: number): void {
    this.#options.waited(at - call.waitsSince + laneMs)
    this.#dequeue(call)
  }

  /** It has been answered and nothing of it runs any more. Idempotent. */
  left(call: Call): void {
    if (!call.isIn) return
    call.isIn = false
    this.#dequeue(call)
    call.use!.inFlight--
    call.use!.tenant.inFlight--
  }

  /** Seconds after which it is worth trying again: when what is queued has been worked off, or an event has made room. */
  retryAfter(use: FunctionUse): number {
    return Math.min(30, Math.max(1, Math.ceil(Math.max(this.#waitMs(use), use.durationMs) / 1000)))
  }

  /** Expected CPU time of what waits, microseconds, and tenants that wait. */
  backlog(): { light: number; costly: number; tenants: number } {
    const [light, costly] = [this.#light, this.#costly]
    return { light: light.all.micros, costly: costly.all.micros, tenants: light.tenants + costly.tenants }
  }

  #refuse(call: Call, code: ErrorCode, limit: string): false {
    this.usage.limited(call.use!, limit)
    call.fail(code)
    return false
  }

  #mostOf(tenant: string): number {
    const { admission, tenants } = this.#options.config
    return (Object.hasOwn(tenants, tenant) ? tenants[tenant]!.inFlight : undefined) ?? admission.inFlight
  }

  #waitMs({ costMs, tenant }: FunctionUse): number {
    const isCostly = costMs > LIGHT_MS
    const own = isCostly ? tenant.costly : tenant.light
    const { all, tenants, lanes } = isCostly ? this.#costly : this.#light
    return Math.min(all.micros, own.micros * tenants) / lanes / 1000
  }

  #queue(call: Call, { costMs, tenant }: FunctionUse): void {
    const ms = costMs < 0 ? UNKNOWN_MS : costMs
    // Whole microseconds: what is added is taken away again, and must leave nothing.
    const micros = Math.ceil(ms * 1000) + 1
    const isCostly = ms > LIGHT_MS
    const own = isCostly ? tenant.costly : tenant.light
    const backlog = isCostly ? this.#costly : this.#light
    if (own.micros === 0) backlog.tenants++
    own.micros += micros
    backlog.all.micros += micros
    call.queuedMicros = micros
    call.isCostly = isCostly
  }

  #dequeue(call: Call): void {
    const micros = call.queuedMicros
    if (micros === 0) return
    call.queuedMicros = 0
    const { tenant } = call.use!
    const own = call.isCostly ? tenant.costly : tenant.light
    const backlog = call.isCostly ? this.#costly : this.#light
    own.micros -= micros
    backlog.all.micros -= micros
    if (own.micros === 0) backlog.tenants--
  }
}
