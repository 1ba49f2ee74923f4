import { systemClock } from './clock.ts'
import type { Clock } from './clock.ts'

/** Between two beats, ms, and how many in a row may stay unanswered. */
const EVERY = 1_000
const MOST_MISSED = 15

export interface HeartbeatOptions {
  /** Asks; the child's answer is `answered`. */
  beat: () => void
  /** Called once: it has not answered for too long, being stopped or blocked. */
  hung: (seconds: number) => void
  clock?: Clock
}

/**
 * Watches whether a child process still turns its event loop. Beats are counted and not time: a parent that was itself
 * stopped, with its machine, has not heard from anybody meanwhile.
 */
export class Heartbeat {
  readonly #options: HeartbeatOptions
  readonly #clock: Clock
  #missed = 0
  #timer: object | undefined

  constructor(options: HeartbeatOptions) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#arm()
  }

  answered(): void {
    this.#missed = 0
  }

  stop(): void {
    this.#clock.clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #arm(): void {
    this.#timer = this.#clock.setTimeout(() => this.#tick(), EVERY)
    ;(this.#timer as Partial<NodeJS.Timeout>).unref?.()
  }

  #tick(): void {
    if (this.#missed >= MOST_MISSED) {
      this.#timer = undefined
      this.#options.hung((MOST_MISSED * EVERY) / 1000)
      return
    }
    this.#missed++
    this.#options.beat()
    this.#arm()
  }
}
