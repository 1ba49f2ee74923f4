/** CPU time that carrying a megabyte of a body into or out of an isolate takes, at most, ms. */
const CARRY_MS = 2

/**
 * CPU time of one sandbox and the events that are live in it. V8 tells how much an isolate used, not which event: each
 * event brings its limit into one budget, every entry is paid from it, and what is left never exceeds what the live
 * events brought. So an event that is alone is held to its limit over all of its entries, and one among others can use
 * no more than they leave.
 */
export class Budget {
  readonly #cpuMs: number
  readonly #wallMs: number
  readonly #live = new Set<number>()
  #left = 0
  #openUntil = 0

  constructor(limits: { cpuMs: number; wallMs: number }) {
    this.#cpuMs = limits.cpuMs
    this.#wallMs = limits.wallMs
  }

  begin(event: number, now: number): void {
    this.#live.add(event)
    this.#left += this.#cpuMs
    this.#openUntil = now + this.#wallMs
  }

  end(event: number): void {
    this.#live.delete(event)
  }

  has(event: number): boolean {
    return this.#live.has(event)
  }

  get live(): number {
    return this.#live.size
  }

  /**
   * Whether timers and completions may enter. Without a live event nobody pays for them, and an interval would keep a
   * core busy for ever; an event that never ends holds it open for its wall time only.
   */
  isOpen(now: number): boolean {
    return this.#live.size > 0 && now < this.#openUntil
  }

  /** Bytes of a body were carried in or out: that work is the host's, so the events are not charged for it. */
  carried(bytes: number): void {
    this.#left += (bytes / 1e6) * CARRY_MS
  }

  /** Pays for an entry. False when live events have used more than they may. */
  spend(cpuMs: number): boolean {
    this.#left -= cpuMs
    if (this.#live.size === 0) this.#left = 0
    else if (this.#left < 0) return false
    else this.#left = Math.min(this.#left, this.#live.size * this.#cpuMs)
    return true
  }
}
