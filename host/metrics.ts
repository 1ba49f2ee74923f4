import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Metric } from 'prom-client'
import type { ErrorCode } from './errors.ts'
import { PlainHistogram } from './plain-histogram.ts'

/** What one process counts. Registries of several processes are merged by whoever is scraped. */
export class Counters {
  readonly registry = new Registry()
  /** By outcome, since the last scrape: prom-client's counters look labels up for every increment. */
  readonly #outcomes = new Map<number | ErrorCode, number>()
  readonly #duration = new PlainHistogram(
    'skep_request_duration_seconds',
    'From the request head to the end of the answer.',
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
  )
  readonly #coldStarts = new Counter({
    name: 'skep_cold_starts_total',
    help: 'Functions loaded because a request asked for them.',
    registers: [this.registry],
  })
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
  readonly #limits = new Counter({
    name: 'skep_limit_exceeded_total',
    help: 'Isolates ended over a limit or lost with their process.',
    labelNames: ['limit'] as const,
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
    const outcomes = this.#outcomes
    const requests = new Counter({
      name: 'skep_requests_total',
      help: 'Requests answered, by HTTP status or error code; client_gone when the client left first.',
      labelNames: ['code'] as const,
      registers: [],
      collect() {
        for (const [outcome, count] of outcomes) this.inc({ code: outcome === 0 ? 'client_gone' : outcome }, count)
        outcomes.clear()
      },
    })
    this.registry.registerMetric(requests)
    this.registry.registerMetric(this.#duration as unknown as Metric)
  }

  /** `outcome`: the answer's status or error code; 0 when the client left first. */
  request(outcome: number | ErrorCode, durationMs: number): void {
    this.#outcomes.set(outcome, (this.#outcomes.get(outcome) ?? 0) + 1)
    this.#duration.observe(durationMs / 1000)
  }

  coldStart(_function: string, durationMs: number): void {
    this.#coldStarts.inc()
    this.#coldStartDuration.observe(durationMs / 1000)
  }

  evicted(reason: 'count' | 'memory' | 'idle'): void {
    this.#evictions.inc({ reason })
  }

  failed(_function: string, limit: string): void {
    this.#limits.inc({ limit })
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
