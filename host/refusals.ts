import type { Clock } from './clock.ts'
import type { ErrorCode } from './errors.ts'

/** How long a refusal waits before it is sent, ms. */
export const REFUSAL_MS = 100

/** Refusals that wait at a time; what is more is sent at once. */
const MOST = 10_000

const REFUSALS: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['overloaded', 'quarantined', 'saturated'])

/**
 * Refusing costs next to nothing, so that clients which ask again at once, as most that are refused do, would keep the
 * event loop busy with nothing else, at the cost of all tenants. A refusal that takes its time keeps them to ten a second
 * for each connection. Whoever heeds `Retry-After` does not notice.
 */
export class Refusals {
  readonly #clock: Clock
  #waiting: { due: number; send: () => void }[] = []
  #timer: object | undefined
  #closed = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  send(code: ErrorCode, send: () => void): void {
    if (!REFUSALS.has(code) || this.#closed || this.#waiting.length >= MOST) {
      send()
      return
    }
    this.#waiting.push({ due: this.#clock.now() + REFUSAL_MS, send })
    this.#timer ??= this.#clock.setTimeout(() => this.#sendDue(), REFUSAL_MS)
  }

  /** Sends what waits. From here on nothing does. */
  close(): void {
    this.#closed = true
    this.#clock.clearTimeout(this.#timer)
    for (const { send } of this.#waiting.splice(0)) send()
  }

  /** One timer for all: in the order in which they came. */
  #sendDue(): void {
    this.#timer = undefined
    const now = this.#clock.now()
    const later = this.#waiting.findIndex(({ due }) => due > now + 1)
    for (const { send } of this.#waiting.splice(0, later < 0 ? this.#waiting.length : later)) send()
    const next = this.#waiting[0]
    if (next !== undefined) this.#timer ??= this.#clock.setTimeout(() => this.#sendDue(), next.due - now)
  }
}
