import type { Clock } from './clock.ts'
import { SkepError } from './errors.ts'

/** How long a call waits for room when every loaded isolate is at work, ms. */
const ROOM_WAIT = 5_000

/** Loads that wait until there is room for one more isolate; who has waited the longest looks first. */
export class Room {
  readonly #clock: Clock
  readonly #waiters = new Set<() => void>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** An isolate is at rest or gone. */
  made(): void {
    for (const wake of this.#waiters) {
      wake()
      return
    }
  }

  /** Settles once `isThere` says so; it is asked now, and whenever room was made. Rejects with `saturated`. */
  async wait(isThere: () => boolean): Promise<void> {
    const deadline = this.#clock.now() + ROOM_WAIT
    while (!isThere()) {
      const left = deadline - this.#clock.now()
      if (left <= 0) throw new SkepError('saturated', 'Every isolate that this process may hold is at work.')
      await new Promise<void>((resolve) => {
        const wake = () => {
          this.#clock.clearTimeout(timer)
          this.#waiters.delete(wake)
          resolve()
        }
        const timer = this.#clock.setTimeout(wake, left)
        this.#waiters.add(wake)
      })
    }
  }
}
