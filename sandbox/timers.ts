import { Emit, Submit } from './protocol.ts'
import type { Batch } from './protocol.ts'

/** The host's side of one guest's timers. */
export class Timers {
  readonly #submit: (batch: Batch) => void
  readonly #timers = new Map<number, NodeJS.Timeout>()

  constructor(submit: (batch: Batch) => void) {
    this.#submit = submit
  }

  handle(batch: Batch, at: number): void {
    const id = batch[at + 1] as number
    clearTimeout(this.#timers.get(id))
    this.#timers.delete(id)
    if (batch[at] === Emit.timerCancel) return
    const timer = setTimeout(() => {
      this.#timers.delete(id)
      this.#submit([Submit.timer, id])
    }, batch[at + 2] as number)
    this.#timers.set(id, timer)
  }

  close(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer)
    this.#timers.clear()
  }
}
