import { availableParallelism, loadavg } from 'node:os'

/** Entries shorter than this, ms of wall time, say nothing about how busy the machine is. */
export const TELLING_MS = 10

/** However busy the machine is, no entry gets more than so many times its wall time. */
const MOST = 10
const LOAD_EVERY = 1_000
const HALF_LIFE = 5_000

/**
 * How many times longer than its CPU time an entry takes in this process, because others want the same cores: 1 on a machine
 * with cores to spare. V8 stops an entry by wall time only, and nobody is to be stopped for what others do. Known from
 * entries whose CPU time was read exactly, of late, and from the system's load average, which also tells of it before
 * anything has run; where neither says anything, as on other systems, it is 1.
 */
export class Stretch {
  readonly #load: () => number
  #loadFactor = 1
  #loadAt = -Infinity
  #seen = 1
  #seenAt = 0

  /** `load`: processes that want to run, for each core. */
  constructor(load: () => number = () => loadavg()[0]! / availableParallelism()) {
    this.#load = load
  }

  /** An entry took so long, ms. */
  ran(wallMs: number, cpuMs: number, now: number): void {
    if (wallMs < TELLING_MS || !(cpuMs > 0)) return
    const seen = wallMs / cpuMs
    if (seen < this.#decayed(now)) return
    this.#seen = seen
    this.#seenAt = now
  }

  factor(now: number): number {
    if (now - this.#loadAt >= LOAD_EVERY) {
      this.#loadAt = now
      this.#loadFactor = this.#load()
    }
    return Math.min(MOST, Math.max(1, this.#loadFactor, this.#decayed(now)))
  }

  #decayed(now: number): number {
    if (this.#seen <= 1) return 1
    return 1 + (this.#seen - 1) * 2 ** (-(now - this.#seenAt) / HALF_LIFE)
  }
}
