import { Counter, Gauge } from 'prom-client'
import type { Registry } from 'prom-client'
import type { ConductBook } from './conduct-book.ts'

/** Where the record of conduct is kept, and only there: a worker's copy would be counted twice. */
export function registerConduct(registry: Registry, book: Pick<ConductBook, 'offences' | 'countOf'>): void {
  const told = new Map<string, number>()
  const offences = new Counter({
    name: 'skep_offences_total',
    help: 'What functions did to their isolates and processes, by kind.',
    labelNames: ['kind'] as const,
    registers: [],
    collect() {
      for (const [kind, count] of book.offences) {
        this.inc({ kind }, count - (told.get(kind) ?? 0))
        told.set(kind, count)
      }
    },
  })
  const quarantined = new Gauge({
    name: 'skep_quarantined_functions',
    help: 'Versions of functions that are not run for what they did, those being tried again included.',
    registers: [],
    collect() {
      this.set(book.countOf('quarantined') + book.countOf('half_open'))
    },
  })
  registry.registerMetric(offences)
  registry.registerMetric(quarantined)
}
