import { Emit, Submit } from './protocol.ts'
import type { Batch } from './protocol.ts'

const LONGEST = 2_147_483_647

/** The host's side of one guest's timers. */
export class Timers {
  readonly #most: number
  readonly #submit: (batch: Batch) => void
  readonly #timers = new Map<number, NodeJS.Timeout>()

  /** The guest refuses more than `most` by itself; one that does not is broken, and gets no memory of the host's for it. */
  constructor(most: number, submit: (batch: Batch) => void) {
    this.#most = most
    this.#submit = submit
  }

  handle(batch: Batch, at: number): void {
    const id = batch[at + 1] as number
    clearTimeout(this.#timers.get(id))
    this.#timers.delete(id)
    if (batch[at] === Emit.timerCancel || this.#timers.size >= this.#most) return
    const timer = setTimeout(
      () => {
        this.#timers.delete(id)
        this.#submit([Submit.timer, id])
      },
      Math.min(batch[at + 2] as number, LONGEST),
    )
    this.#timers.set(id, timer)
  }

  close(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer)
    this.#timers.clear()
  }
}
