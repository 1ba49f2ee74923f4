import type { ErrorCode } from './errors.ts'

/** What one function of this process uses, and has used. Plain numbers, changed for every request and read once in a while. */
export interface FunctionUse {
  /** `tenant/function` */
  readonly name: string
  readonly tenant: TenantUse
  /** Admitted and not done: waiting for its body, for a load, in a queue, or running. */
  inFlight: number
  isolates: number
  memoryBytes: number
  /** Running mean of an event's CPU time, ms; -1 while it is not known. Outlives an isolate. */
  costMs: number
  /** Running mean from the request to the end of its answer, ms. */
  durationMs: number
  readonly totals: Totals
  /** Since they were last taken for the metrics: by status or error code (0: the client left first), and by limit. */
  readonly outcomes: Map<number | ErrorCode, number>
  readonly limits: Map<string, number>
  /** A second, on average over the last WINDOW_SECONDS or so. */
  readonly rates: Totals
  /** As they were when the rates were last brought up to date. */
  readonly before: Totals
  /** As they were when the metrics were taken. */
  readonly told: Totals
  /** Something has happened since the metrics were taken. */
  isTouched: boolean
  /** It has been forgotten: whoever still holds it asks for a new one. */
  isForgotten: boolean
  lastTouched: number
}

export interface TenantUse {
  readonly name: string
  inFlight: number
  /** How many may be; -1 while nobody has asked. */
  most: number
  /** Of what waits or has just been given to its isolates. */
  readonly light: Work
  readonly costly: Work
}

/** Expected CPU time, microseconds. */
export interface Work {
  micros: number
}

export interface Totals {
  cpuMs: number
  requests: number
  /** Refused before they ran: `overloaded` and `saturated`. */
  refused: number
  /** Any other error code. */
  failed: number
  coldStarts: number
}

/** A function's use as the API tells it. */
export interface UsageLine {
  tenant: string
  name: string
  cpuMsPerSecond: number
  requestsPerSecond: number
  refusedPerSecond: number
  failedPerSecond: number
  coldStartsPerSecond: number
  inFlight: number
  isolates: number
  memoryBytes: number
}

/** The time over which rates are averages, s: what was earlier counts for less and less. */
export const WINDOW_SECONDS = 10
/** Functions that are remembered. Those without an isolate or a request go first. */
const REMEMBERED = 10_000
const FORGET_MS = 600_000

/** Who uses this process, by function. */
export class Usage {
  readonly #functions = new Map<string, FunctionUse>()
  readonly #tenants = new Map<string, TenantUse>()
  #touched: FunctionUse[] = []
  #tickedAt = -1

  of(tenant: string, fn: string): FunctionUse {
    const name = `${tenant}/${fn}`
    let use = this.#functions.get(name)
    if (use !== undefined) return use
    use = {
      name,
      tenant: this.#tenant(tenant),
      inFlight: 0,
      isolates: 0,
      memoryBytes: 0,
      costMs: -1,
      durationMs: 0,
      totals: none(),
      outcomes: new Map(),
      limits: new Map(),
      rates: none(),
      before: none(),
      told: none(),
      isTouched: false,
      isForgotten: false,
      lastTouched: this.#tickedAt,
    }
    this.#functions.set(name, use)
    return use
  }

  /** A request has had its answer. */
  answered(use: FunctionUse, outcome: number | ErrorCode, durationMs: number): void {
    const { totals, outcomes } = use
    totals.requests++
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
    if (typeof outcome === 'number') use.durationMs += (durationMs - use.durationMs) * 0.1
    else if (outcome === 'overloaded' || outcome === 'saturated') totals.refused++
    else totals.failed++
    if (!use.isTouched) this.#touch(use)
  }

  /** An isolate of it ran. */
  ran(use: FunctionUse, cpuMs: number): void {
    use.totals.cpuMs += cpuMs
    if (!use.isTouched) this.#touch(use)
  }

  coldStarted(use: FunctionUse): void {
    use.totals.coldStarts++
    if (!use.isTouched) this.#touch(use)
  }

  limited(use: FunctionUse, limit: string): void {
    use.limits.set(limit, (use.limits.get(limit) ?? 0) + 1)
    if (!use.isTouched) this.#touch(use)
  }

  /** Those of whom something has happened since the last time. */
  takeTouched(): FunctionUse[] {
    const touched = this.#touched
    this.#touched = []
    for (const use of touched) use.isTouched = false
    return touched
  }

  get all(): Iterable<FunctionUse> {
    return this.#functions.values()
  }

  /** Brings the rates up to date. `now`: ms that only go up. */
  tick(now: number): void {
    const seconds = this.#tickedAt < 0 ? 0 : (now - this.#tickedAt) / 1000
    this.#tickedAt = now
    if (seconds <= 0) return
    const kept = Math.exp(-seconds / WINDOW_SECONDS)
    for (const use of this.#functions.values()) {
      for (const key of KEYS) {
        const rate = (use.totals[key] - use.before[key]) / seconds
        if (rate > 0) use.lastTouched = now
        use.rates[key] = use.rates[key] * kept + rate * (1 - kept)
        use.before[key] = use.totals[key]
      }
    }
    this.#forget(now)
  }

  /** The busiest first; `tenant`: only its own. */
  report(tenant?: string): UsageLine[] {
    const lines: UsageLine[] = []
    for (const use of this.#functions.values()) {
      if (tenant !== undefined && use.tenant.name !== tenant) continue
      const { rates, inFlight, isolates, memoryBytes } = use
      if (isolates === 0 && inFlight === 0 && rates.requests < 0.001 && rates.cpuMs < 0.001) continue
      lines.push({
        tenant: use.tenant.name,
        name: use.name.slice(use.tenant.name.length + 1),
        cpuMsPerSecond: rates.cpuMs,
        requestsPerSecond: rates.requests,
        refusedPerSecond: rates.refused,
        failedPerSecond: rates.failed,
        coldStartsPerSecond: rates.coldStarts,
        inFlight,
        isolates,
        memoryBytes,
      })
    }
    return busiest(lines)
  }

  #tenant(name: string): TenantUse {
    let tenant = this.#tenants.get(name)
    if (tenant !== undefined) return tenant
    tenant = { name, inFlight: 0, most: -1, light: { micros: 0 }, costly: { micros: 0 } }
    this.#tenants.set(name, tenant)
    return tenant
  }

  #touch(use: FunctionUse): void {
    use.isTouched = true
    this.#touched.push(use)
  }

  #forget(now: number): void {
    let surplus = this.#functions.size - REMEMBERED
    // In the order in which they came.
    for (const [name, use] of this.#functions) {
      if (use.inFlight > 0 || use.isolates > 0) continue
      if (surplus <= 0 && now - use.lastTouched < FORGET_MS) continue
      use.isForgotten = true
      this.#functions.delete(name)
      surplus--
    }
    if (this.#tenants.size <= this.#functions.size + REMEMBERED) return
    const kept = new Set([...this.#functions.values()].map((use) => use.tenant))
    for (const [name, tenant] of this.#tenants) if (!kept.has(tenant)) this.#tenants.delete(name)
  }
}

/** Lines of several processes as one, the busiest first. */
export function mergeUsage(lines: UsageLine[]): UsageLine[] {
  const merged = new Map<string, UsageLine>()
  for (const line of lines) {
    const key = `${line.tenant}/${line.name}`
    const there = merged.get(key)
    if (there === undefined) merged.set(key, { ...line })
    else for (const [field, value] of Object.entries(line)) if (typeof value === 'number') there[field as 'inFlight'] += value
  }
  return busiest([...merged.values()])
}

function busiest(lines: UsageLine[]): UsageLine[] {
  return lines.toSorted((a, b) => b.cpuMsPerSecond - a.cpuMsPerSecond || b.requestsPerSecond - a.requestsPerSecond)
}

const KEYS = ['cpuMs', 'requests', 'refused', 'failed', 'coldStarts'] as const satisfies (keyof Totals)[]

function none(): Totals {
  return { cpuMs: 0, requests: 0, refused: 0, failed: 0, coldStarts: 0 }
}
