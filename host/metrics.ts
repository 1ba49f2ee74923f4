import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { ErrorCode } from './errors.ts'

/** What one process counts. Registries of several processes are merged by whoever is scraped. */
export class Counters {
  readonly registry = new Registry()
  readonly #requests = new Counter({
    name: 'skep_requests_total',
    help: 'Requests answered, by HTTP status or error code; client_gone when the client left first.',
    labelNames: ['code'] as const,
    registers: [this.registry],
  })
  readonly #duration = new Histogram({
    name: 'skep_request_duration_seconds',
    help: 'From the request head to the end of the answer.',
    buckets: [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers: [this.registry],
  })
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

  request(outcome: number | ErrorCode, durationMs: number): void {
    this.#requests.inc({ code: outcome === 0 ? 'client_gone' : outcome })
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

  isolates(counts: { ready: number; loading: number; draining: number }): void {
    this.#isolates.set({ state: 'ready' }, counts.ready)
    this.#isolates.set({ state: 'loading' }, counts.loading)
    this.#isolates.set({ state: 'draining' }, counts.draining)
  }
}
