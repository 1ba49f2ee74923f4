/** What every listener waits for once it accepts nothing new. */
import { LINGER_MS, YOUNG_MS } from './_limits.ts'
import { turn } from './_turns.ts'

export interface Draining {
  connections(): number
  /** Something is in flight, or its answer is still on the way out. */
  busy(): boolean
  /** When the youngest connection was accepted, by `performance.now()`. */
  lastOpened(): number
}

export class Drainage {
  #wake: (() => void) | undefined

  /** Nothing is in flight any more, or nobody is connected. */
  changed(): void {
    this.#wake?.()
  }

  /** Until all is answered and idle connections have had their time, or `graceMs` are over. What is left is to be cut. */
  async run(graceMs: number, listener: Draining): Promise<void> {
    const began = performance.now()
    const deadline = began + graceMs
    const patience = () => Math.min(deadline, Math.max(began + LINGER_MS, listener.lastOpened() + YOUNG_MS))
    for (;;) {
      // What the kernel has received meanwhile becomes requests in flight.
      await turn()
      if (listener.connections() === 0) return
      const now = performance.now()
      if (now >= deadline) return
      if (listener.busy()) await this.#change(deadline - now)
      else if (now < patience()) await this.#change(patience() - now)
      else return
    }
  }

  #change(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.changed(), Math.max(1, ms))
      this.#wake = () => {
        clearTimeout(timer)
        this.#wake = undefined
        resolve()
      }
    })
  }
}
