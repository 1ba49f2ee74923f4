import type { Clock } from '../clock.ts'

interface Timer {
  at: number
  run: () => void
}

/** Time that stands still until a test moves it. */
export class FakeClock implements Clock {
  #now = 1_000_000
  readonly #timers = new Set<Timer>()

  now(): number {
    return this.#now
  }

  setTimeout(run: () => void, ms: number): object {
    const timer = { at: this.#now + ms, run }
    this.#timers.add(timer)
    return timer
  }

  clearTimeout(timer: object | undefined): void {
    this.#timers.delete(timer as Timer)
  }

  /** Moves on, runs what is due in its order, and lets what follows from it happen. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms
    await turn()
    for (;;) {
      const due = [...this.#timers].filter((timer) => timer.at <= end).toSorted((a, b) => a.at - b.at)[0]
      if (due === undefined) break
      this.#now = Math.max(this.#now, due.at)
      this.#timers.delete(due)
      due.run()
      await turn()
    }
    this.#now = end
  }
}

/** Until every promise and immediate that is due now has had its turn, and what they set off too. */
export async function turn(): Promise<void> {
  for (let i = 0; i < 4; i++) await new Promise((resolve) => setImmediate(resolve))
}
