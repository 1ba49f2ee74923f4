import type { Standing } from './placement.ts'

/** What the host remembers of how a function version behaved, and who may ask. The states are drawn in README.md. */
export type ConductState = 'probation' | 'trusted' | 'suspected' | 'quarantined' | 'half_open'

export const OFFENCES = [
  /** It used up a limit of its own: its isolate was replaced. */
  'cpu_exceeded',
  'memory_exceeded',
  /** V8 could not stop it, or lost control of its isolate: its process had to be replaced. */
  'unstoppable',
  'catastrophic',
  /** Its process ended while it ran. */
  'process_lost',
  /** What it sent to the host is nothing that the prelude sends. */
  'bad_guest',
] as const
export type OffenceKind = (typeof OFFENCES)[number]

export interface Offence {
  kind: OffenceKind
  /** ms since 1970 */
  at: number
  message: string
}

/** What a process reports of one. */
export interface OffenceReport extends Omit<Offence, 'at'> {
  /** It had its process to itself, so nobody else did it. */
  alone: boolean
  /** Its process was killed from outside, be it by the kernel for want of memory: no proof yet. */
  killed?: boolean
}

/** One version's. */
export interface ConductRecord {
  /** `tenant/function` */
  name: string
  version: string
  state: ConductState
  /** When the state began, ms since 1970. */
  since: number
  /** Of `quarantined`: when it may be tried again, ms since 1970. */
  until: number
  /** Events that ended well in this state. */
  clean: number
  /** Quarantines in a row. */
  level: number
  /** Of `suspected`: where clean events lead. */
  back: 'probation' | 'trusted'
  costly: boolean
  /** Mean CPU time of an event, ms. */
  meanCpuMs: number
  /** The latest, oldest first. */
  offences: Offence[]
  counts: Partial<Record<OffenceKind, number>>
}

/** A state that has changed. */
export interface ConductChange {
  name: string
  version: string
  standing: Standing
  /** Of `quarantined`: ms since 1970. */
  until: number
}

/** Why a version is not loaded now, for `Retry-After`. */
export interface Refusal {
  seconds: number
}

/**
 * The record as the request path and the placement see it: the book itself where one process is all there is, else a
 * mirror of the supervisor's.
 */
export interface Conduct {
  standing(name: string, version: string): Standing
  /** Undefined: it may be loaded, or at least be asked for. */
  refusal(name: string, version: string): Refusal | undefined
  /** Before a load. Rejects with `quarantined`; a function that is due for a try is given to one asker alone. */
  admit(name: string, version: string): Promise<void>
  /** It is being tried in this process: one event, and no more until it is known how that went. */
  isProbe(name: string, version: string): boolean
  /** Events that ended well, and the CPU time of all that has run since the last report, ms. */
  ran(name: string, version: string, clean: number, cpuMs: number): void
  offence(name: string, version: string, report: OffenceReport): void
  /** The try came to nothing: no event ran. */
  abandoned(name: string, version: string): void
  /** Tells of each change from now on. */
  watch(listener: (change: ConductChange) => void): void
}

export function versionKey(name: string, version: string): string {
  return `${name}@${version}`
}

/** What a caller is told to wait, s; at least one second. */
export function secondsUntil(until: number, now: number): number {
  return Math.max(1, Math.ceil((until - now) / 1000))
}
