import { Budget } from './budget.ts'
import type { Breach, LimitEnforcer, MemoryVerdict } from './limit-enforcer.ts'
import { heapMbFor, MemoryGauge } from './memory-gauge.ts'
import type { RunReport } from './sandbox.ts'
import { TELLING_MS } from './stretch.ts'
import type { Stretch } from './stretch.ts'

/** What of a function's limits is enforced where its isolate is. */
export interface IsolateLimits {
  cpuMs: number
  startMs: number
  wallMs: number
  memoryMb: number
}

/**
 * An entry that V8 was told to stop, and that still runs after this time, ms, is one that cannot be stopped: there are
 * builtins that never look whether they should end. V8 stops everything else within some milliseconds.
 */
export const STOP_GRACE = 1_000

/** A look that comes late may find an entry whose end has not been heard of: it counts from the second one on, ms later. */
const SECOND_LOOK = 100

/** Entries that may take long are watched at least so often, ms. */
const LONGEST_PAUSE = 5_000

/**
 * An entry whose time has stood still for so long, ms, has lost its thread: V8 and isolated-vm park one that they gave up,
 * and do not always say so. No entry waits so long for a thread.
 */
const LOST_AFTER = 12_000

/** Enforces the limits: CPU time by what V8 has measured once an entry has ended, memory by readings between entries. */
export class EnforcedLimits implements LimitEnforcer {
  readonly heapMb: number
  readonly #limits: IsolateLimits
  readonly #budget: Budget
  readonly #gauge: MemoryGauge
  readonly #stretch: Stretch
  #loading = true
  /** The last reading after an entry, ms: all that was used is charged, reported or to be reported. */
  #cpuMs = 0
  /** What it was when the bundle began to load. */
  #startedAt = 0
  #unreportedMs = 0
  #enteredAt = 0
  /** What it was when the entry was made. */
  #enteredMs = 0
  #timeoutMs = 0
  #overdue = false
  /** Of the entry at hand: the highest reading while it was watched, and when that was. */
  #seenMs = 0
  #seenAt = 0

  constructor(limits: IsolateLimits, stretch: Stretch) {
    this.#limits = limits
    this.#stretch = stretch
    this.#budget = new Budget(limits)
    this.#gauge = new MemoryGauge(limits.memoryMb)
    this.heapMb = heapMbFor(limits.memoryMb)
  }

  get entryMs(): number {
    return Math.max(0, this.#cpuMs - this.#enteredMs)
  }

  get live(): number {
    return this.#budget.live
  }

  isLive(event: number): boolean {
    return this.#budget.has(event)
  }

  starting(cpuMs: number): void {
    this.#cpuMs = cpuMs
    this.#startedAt = cpuMs
  }

  started(): number {
    this.#loading = false
    return this.#cpuMs - this.#startedAt
  }

  eventBegan(event: number, now: number): void {
    this.#budget.begin(event, now)
  }

  eventEnded(event: number): void {
    this.#budget.end(event)
  }

  carried(bytes: number): void {
    this.#budget.carried(bytes)
  }

  isOpen(now: number): boolean {
    return this.#loading || this.#budget.isOpen(now)
  }

  enter(now: number): number {
    this.#enteredMs = this.#cpuMs
    this.#enteredAt = now
    // The limit is of CPU time and this one of wall time: on a busy machine they differ, and nobody should pay for that.
    const leastMs = 2 * this.#limitMs + 20
    // What takes its whole wall time is a spinning event all the same, and to be called that.
    const mostMs = Math.max(leastMs, this.#limits.wallMs / 2)
    this.enterForHost(now, Math.ceil(Math.min(leastMs * this.#stretch.factor(now), mostMs)))
    return this.#timeoutMs
  }

  enterForHost(now: number, wallMs: number): void {
    this.#timeoutMs = wallMs
    this.#overdue = false
    this.#seenMs = this.#cpuMs
    this.#seenAt = now
  }

  watchIn(timeoutMs: number): number {
    return Math.min(timeoutMs + STOP_GRACE, LONGEST_PAUSE)
  }

  watch(cpuMs: number, now: number): number | Breach {
    if (cpuMs > this.#seenMs) {
      this.#seenMs = cpuMs
      this.#seenAt = now
    } else if (now - this.#seenAt >= LOST_AFTER) {
      return { code: 'cpu_exceeded', message: 'Its code could not be stopped, and nothing is heard of it' }
    }
    const left = this.#timeoutMs + STOP_GRACE - (cpuMs - this.#cpuMs)
    if (left > 0) return Math.min(LONGEST_PAUSE, Math.max(SECOND_LOOK, left))
    const ran = Math.round(cpuMs - this.#cpuMs)
    if (this.#overdue) return { code: 'cpu_exceeded', message: `It could not be stopped after ${ran} ms` }
    this.#overdue = true
    return SECOND_LOOK
  }

  leave(cpuMs: number, now: number): boolean {
    return this.#pay(cpuMs) && now - this.#enteredAt < TELLING_MS
  }

  leaveExactly(cpuMs: number, now: number): Breach | undefined {
    const isPaid = this.#pay(cpuMs)
    this.#stretch.ran(now - this.#enteredAt, this.entryMs, now)
    return isPaid ? undefined : this.stopped('timeout')
  }

  #pay(cpuMs: number): boolean {
    const used = cpuMs - this.#cpuMs
    this.#cpuMs = cpuMs
    if (this.#loading) return this.#cpuMs - this.#startedAt <= this.#limits.startMs
    this.#unreportedMs += used
    return this.#budget.spend(used)
  }

  stopped(by: 'timeout' | 'memory'): Breach {
    if (by === 'timeout') return { code: 'cpu_exceeded', message: `It used more than ${this.#limitMs} ms of CPU time` }
    return { code: 'memory_exceeded', message: `It used more than ${this.#limits.memoryMb} MB of memory` }
  }

  wantsMemory(now: number): boolean {
    return this.#gauge.wantsReading(now, this.#cpuMs)
  }

  memory(bytes: number, now: number, collected: boolean): MemoryVerdict {
    const verdict = this.#gauge.read(bytes, now, this.#cpuMs, collected)
    // A version that is over its limit before its first event would be over it in every isolate.
    return verdict === 'over' || (verdict === 'retire' && this.#loading) ? this.stopped('memory') : verdict
  }

  collected(cpuMs: number): void {
    const used = cpuMs - this.#cpuMs
    this.#cpuMs = cpuMs
    if (this.#loading) this.#startedAt += used
    else this.#unreportedMs += used
  }

  report(): RunReport {
    // What turned out to be less than was reported is made up for by the next.
    const cpuMs = Math.max(0, this.#unreportedMs)
    this.#unreportedMs -= cpuMs
    return { cpuMs, memoryBytes: this.#gauge.bytes }
  }

  ended(cpuMs: number, now: number): number {
    if (cpuMs > 0) return this.#unreportedMs + Math.max(0, cpuMs - this.#cpuMs)
    return this.#unreportedMs + (now < 0 ? 0 : now - this.#enteredAt)
  }

  get #limitMs(): number {
    return this.#loading ? this.#limits.startMs : this.#limits.cpuMs
  }
}
