import type { Call } from './call.ts'
import type { Clock } from './clock.ts'

/** A second's worth of lines that belong to no event may be as long as those of one event. */
const STRAY_MS = 1_000

/**
 * How much an instance's guest may log. A well-behaved guest keeps to its limit by itself and says so in its log; one in
 * hostile hands is stopped here, at twice that.
 */
export class LogBudget {
  readonly #most: number
  readonly #clock: Clock
  #stray = 0
  #strayAt = 0

  constructor(logBytes: number, clock: Clock) {
    this.#most = 2 * logBytes
    this.#clock = clock
  }

  allows(call: Call | null | undefined, characters: number): boolean {
    if (call !== null && call !== undefined) return (call.logged += characters) <= this.#most
    const now = this.#clock.now()
    if (now - this.#strayAt >= STRAY_MS) {
      this.#strayAt = now
      this.#stray = 0
    }
    return (this.#stray += characters) <= this.#most
  }
}
