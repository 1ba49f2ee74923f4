import type { Metric, Registry } from 'prom-client'
import type { FunctionUse, Usage } from './usage.ts'

/** Functions with series of their own; all others are one function `other`. */
const NAMED = 100
/** How much busier a function must be than the least busy with series of its own to take its place. */
const MARGIN = 2
const OTHER = 'other'

interface Series {
  /** Whose it is; another object of the same name when the function had been forgotten meanwhile. */
  use: FunctionUse | undefined
  cpuMs: number
  coldStarts: number
  readonly outcomes: Map<number | string, number>
  readonly limits: Map<string, number>
}

/**
 * Metrics by function, so many and no more: the busiest ones by name, the rest as `other`. What was counted for a
 * function that loses its place goes over to `other`, whose counts therefore never go down; one that comes back begins
 * at 0, as after a restart. Everything is folded in when somebody asks, and nothing but plain numbers changes before.
 */
export class FunctionMetrics {
  readonly #usage: Usage
  readonly #most: number
  readonly #named = new Map<string, Series>()
  readonly #other = createSeries(undefined)
  /** Since when the requests of no function at all are counted: unknown hostnames and the like. */
  readonly #nobody = new Map<number | string, number>()

  constructor(usage: Usage, registry: Registry, most = NAMED) {
    this.#usage = usage
    this.#most = most
    const labelled = (key: 'outcomes' | 'limits', label: string) => (name: string, series: Series) =>
      [...series[key]].map(([value, count]) => ({ labels: { function: name, [label]: labelOf(value) }, value: count }))
    const plain = (value: (series: Series) => number) => (name: string, series: Series) => [
      { labels: { function: name }, value: value(series) },
    ]
    const define = (type: 'counter' | 'gauge', name: string, help: string, values: () => object[]) =>
      registry.registerMetric({
        name,
        get: async () => ({ name, help, type, aggregator: 'sum', values: values() }),
      } as unknown as Metric)
    const counter = (
      name: string,
      help: string,
      of: (name: string, series: Series) => object[],
      more: () => object[] = () => [],
    ) => define('counter', name, help, () => [...this.#values(of), ...more()])

    counter(
      'skep_requests_total',
      'Requests answered, by HTTP status or error code; client_gone when the client left first. Without a function where the request named none.',
      labelled('outcomes', 'code'),
      () => [...this.#nobody].map(([code, value]) => ({ labels: { code: labelOf(code) }, value })),
    )
    counter(
      'skep_isolate_cpu_seconds_total',
      'CPU time of a function’s isolates, that of ended ones included.',
      plain(({ cpuMs }) => cpuMs / 1000),
    )
    counter(
      'skep_cold_starts_total',
      'Functions loaded because a request asked for them.',
      plain(({ coldStarts }) => coldStarts),
    )
    counter(
      'skep_limit_exceeded_total',
      'Isolates ended over a limit or lost with their process, and requests refused: by concurrency of the function, inFlight of the tenant, or maxWaitMs.',
      labelled('limits', 'limit'),
    )
    define('gauge', 'skep_isolate_memory_bytes', 'Memory of a function’s isolates, as last read.', () => this.#memory())
  }

  /** A request without a function. */
  nobody(outcome: number | string): void {
    this.#nobody.set(outcome, (this.#nobody.get(outcome) ?? 0) + 1)
  }

  #values(of: (name: string, series: Series) => object[]): object[] {
    this.#fold()
    const named = [...this.#named].flatMap(([name, series]) => of(name, series))
    return isEmpty(this.#other) ? named : [...named, ...of(OTHER, this.#other)]
  }

  #memory(): object[] {
    this.#fold()
    const values = [...this.#named].map(([name, { use }]) => ({ labels: { function: name }, value: use!.memoryBytes }))
    let rest = 0
    for (const use of this.#usage.all) if (!this.#named.has(use.name)) rest += use.memoryBytes
    return rest === 0 ? values : [...values, { labels: { function: OTHER }, value: rest }]
  }

  #fold(): void {
    const touched = this.#usage.takeTouched()
    if (touched.length === 0) return
    const newcomers = touched.filter((use) => !this.#named.has(use.name))
    if (newcomers.length > 0) this.#nameBusiest(newcomers.toSorted((a, b) => busyness(b) - busyness(a)))
    for (const use of touched) {
      const series = this.#named.get(use.name) ?? this.#other
      if (series !== this.#other && !use.isForgotten) series.use = use
      take(use, series)
    }
  }

  #nameBusiest(newcomers: FunctionUse[]): void {
    const leastBusy = [...this.#named].toSorted(([, a], [, b]) => busyness(a.use!) - busyness(b.use!))
    for (const use of newcomers) {
      if (this.#named.size >= this.#most) {
        const [name, series] = leastBusy.shift() ?? []
        if (name === undefined || busyness(use) <= busyness(series!.use!) * MARGIN) return
        merge(this.#other, series!)
        this.#named.delete(name)
      }
      this.#named.set(use.name, createSeries(use))
    }
  }
}

function busyness({ isForgotten, rates, totals, before }: FunctionUse): number {
  if (isForgotten) return -1
  // What has come since the rates were last brought up to date counts too: a function may be new.
  return rates.cpuMs + rates.requests * 0.05 + (totals.cpuMs - before.cpuMs) + (totals.requests - before.requests) * 0.05
}

function createSeries(use: FunctionUse | undefined): Series {
  return { use, cpuMs: 0, coldStarts: 0, outcomes: new Map(), limits: new Map() }
}

function isEmpty({ cpuMs, coldStarts, outcomes, limits }: Series): boolean {
  return cpuMs === 0 && coldStarts === 0 && outcomes.size === 0 && limits.size === 0
}

/** Moves what a function has used since the last time into a series. */
function take({ totals, told, outcomes, limits }: FunctionUse, series: Series): void {
  series.cpuMs += totals.cpuMs - told.cpuMs
  series.coldStarts += totals.coldStarts - told.coldStarts
  Object.assign(told, totals)
  addCounts(series.outcomes, outcomes)
  addCounts(series.limits, limits)
  outcomes.clear()
  limits.clear()
}

function merge(into: Series, series: Series): void {
  into.cpuMs += series.cpuMs
  into.coldStarts += series.coldStarts
  addCounts(into.outcomes, series.outcomes)
  addCounts(into.limits, series.limits)
}

function addCounts<K>(into: Map<K, number>, counts: ReadonlyMap<K, number>): void {
  for (const [key, count] of counts) into.set(key, (into.get(key) ?? 0) + count)
}

function labelOf(value: number | string): string {
  return value === 0 ? 'client_gone' : String(value)
}
