import type { RunReport } from './sandbox.ts'

/** What was passed, and the words for the function's log. */
export interface Breach {
  code: 'cpu_exceeded' | 'memory_exceeded'
  message: string
}

/**
 * What follows from a reading of the memory. `collect`: part of it may be garbage; let V8 look for it and read again.
 * `retire`: the function's own limit is passed; what is in flight may end, but nothing new should begin.
 */
export type MemoryVerdict = 'fine' | 'collect' | 'retire' | Breach

/**
 * Holds one sandbox to its limits. The sandbox tells it what happens and does as it says; it does nothing by itself, has
 * no timer, and never calls back. Everything is called on the event loop of the process that holds the isolate.
 *
 * `EnforcedLimits` enforces; `test-support/limits.ts` has one that records and one that trips on demand.
 */
export interface LimitEnforcer {
  /** V8's own limit of the heap, MB. Fixed. */
  readonly heapMb: number

  /** Events that have begun and not ended. */
  readonly live: number

  /** Whether this is one of them. */
  isLive(event: number): boolean

  /** Before the bundle is compiled. `cpuMs`: what the isolate has used up to now, which nobody pays for. */
  starting(cpuMs: number): void

  /** The bundle has been evaluated and nothing was passed: events may come. Returns the CPU time that it took, ms. */
  started(): number

  /** An event was dispatched; it is inside with the next entry at the soonest. */
  eventBegan(event: number, now: number): void

  /** The guest has said that it is done with the event. Unknown numbers are the guest's to make up, and are ignored. */
  eventEnded(event: number): void

  /** Bytes of a body were carried in or out: work of the host, which the events are not charged for. */
  carried(bytes: number): void

  /** Whether timers and completions may enter. Asked before each entry that has no event of the host's in it. */
  isOpen(now: number): boolean

  /** An entry is about to be made. Returns the wall time that V8 gives it, ms, after which it is stopped. */
  enter(now: number): number

  /** The same for an entry that the host makes for a purpose of its own, with this wall time, and that no event pays for. */
  enterForHost(now: number, wallMs: number): void

  /** When an entry with this wall time is first to be watched, ms after it was made. */
  watchIn(timeoutMs: number): number

  /**
   * Of an entry that has not ended, by a timer: first after what `watchIn` says, then after what it returns, ms.
   * `cpuMs` is read while the isolate runs, and may be ahead of what `leave` is told. A breach says that the entry will
   * never end: the isolate and the thread that runs it are lost, and the process is to be replaced.
   */
  watch(cpuMs: number, now: number): number | Breach

  /**
   * The entry has ended by itself. `cpuMs`: all that the isolate has used. V8's thread may still be leaving it, and the
   * reading be ahead by what that thread waited: upon a breach this is called once more, with a reading that is exact. A
   * second breach ends the sandbox. A reading that is lower than the one before corrects it.
   */
  leave(cpuMs: number): Breach | undefined

  /** CPU time of the entry that `leave` was told of last, ms. */
  readonly entryMs: number

  /** V8 has stopped the entry, by its wall time or by its own limit of the heap. Returns what the function is told. */
  stopped(by: 'timeout' | 'memory'): Breach

  /** After an entry, with the isolate at rest: whether its memory is to be read. Asked often, and costs next to nothing. */
  wantsMemory(now: number): boolean

  /** Bytes in use, read at rest. `collected`: V8 has looked for garbage just before. A breach ends the sandbox. */
  memory(bytes: number, now: number, collected: boolean): MemoryVerdict

  /** V8 has looked for garbage, and has used this much CPU time in all, ms. No event pays for it. */
  collected(cpuMs: number): void

  /** What has run since the last report. */
  report(): RunReport

  /**
   * The isolate is gone. `cpuMs`: all that it has used, or 0 where V8, which has disposed of it, tells no more; then what an
   * entry that was cut short has used is taken for the time since it was made. `now`: -1 when none was. Returns the CPU
   * time since the last report, ms.
   */
  ended(cpuMs: number, now: number): number
}
