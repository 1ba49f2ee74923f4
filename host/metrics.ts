import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Metric } from 'prom-client'
import type { ErrorCode } from './errors.ts'
import { FunctionMetrics } from './function-metrics.ts'
import { PlainHistogram } from './plain-histogram.ts'
import { Usage } from './usage.ts'
import type { FunctionUse } from './usage.ts'

/** What one process counts. Registries of several processes are merged by whoever is scraped. */
export class Counters {
  readonly registry = new Registry()
  readonly usage = new Usage()
  readonly #functions = new FunctionMetrics(this.usage, this.registry)
  readonly #duration = new PlainHistogram(
    'skep_request_duration_seconds',
    'From the request head to the end of the answer.',
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
  )
  readonly #waits = new PlainHistogram(
    'skep_dispatch_wait_seconds',
    'From taking a request in to giving it to its isolate, loading included.',
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
  )
  readonly #coldStartDuration = new Histogram({
    name: 'skep_cold_start_duration_seconds',
    help: 'From asking the store to being ready for the first event.',
    buckets: [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5],
    registers: [this.registry],
  })
  readonly #evictions = new Counter({
    name: 'skep_isolate_evictions_total',
    help: 'Isolates dropped to make room (count, memory) or for want of work (idle).',
    labelNames: ['reason'] as const,
    registers: [this.registry],
  })
  readonly #isolates = new Gauge({
    name: 'skep_isolates',
    help: 'Isolates of this process by state.',
    labelNames: ['state'] as const,
    registers: [this.registry],
  })
  readonly #cells = new Gauge({
    name: 'skep_cells',
    help: 'Child processes that hold isolates, by what is placed in them.',
    labelNames: ['kind'] as const,
    registers: [this.registry],
  })

  constructor() {
    this.registry.registerMetric(this.#duration as unknown as Metric)
    this.registry.registerMetric(this.#waits as unknown as Metric)
  }

  /** `outcome`: the answer's status or error code; 0 when the client left first. */
  request(use: FunctionUse | undefined, outcome: number | ErrorCode, durationMs: number): void {
    if (use === undefined) this.#functions.nobody(outcome)
    else this.usage.answered(use, outcome, durationMs)
    this.#duration.observe(durationMs / 1000)
  }

  /** An event was given to its isolate. */
  waited(ms: number): void {
    this.#waits.observe(ms / 1000)
  }

  coldStart(use: FunctionUse, durationMs: number): void {
    this.usage.coldStarted(use)
    this.#coldStartDuration.observe(durationMs / 1000)
  }

  evicted(reason: 'count' | 'memory' | 'idle'): void {
    this.#evictions.inc({ reason })
  }

  cells(counts: Record<string, number>): void {
    for (const [kind, count] of Object.entries(counts)) this.#cells.set({ kind }, count)
  }

  isolates(counts: { ready: number; loading: number; draining: number }): void {
    this.#isolates.set({ state: 'ready' }, counts.ready)
    this.#isolates.set({ state: 'loading' }, counts.loading)
    this.#isolates.set({ state: 'draining' }, counts.draining)
  }
}
