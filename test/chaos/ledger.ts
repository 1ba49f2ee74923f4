/** Since when, and until when, something was so; both as generous as a caller of the API can know. */
interface Entry<T> {
  value: T
  from: number
  until: number
}

/** A change reaches every worker within this after the API has answered, ms. */
const GRACE = 2_000

/** What a name stood for over time. Several values at once are possible: two versions of one deployment, or a change under way. */
export class Ledger<T> {
  readonly #entries: Entry<T>[] = []

  constructor(value: T) {
    this.#entries.push({ value, from: -Infinity, until: Infinity })
  }

  /** What it stands for as far as is known, the last change being over. */
  get now(): T[] {
    return this.#entries.filter(({ until }) => until === Infinity).map(({ value }) => value)
  }

  /** From before `change` begins the new values are possible, after it has ended the old ones no longer are. */
  async during<R>(values: T[], change: () => Promise<R>): Promise<R> {
    const old = this.#entries.filter(({ until }) => until === Infinity)
    const from = performance.now()
    for (const value of values) this.#entries.push({ value, from, until: Infinity })
    const result = await change()
    for (const entry of old) entry.until = performance.now() + GRACE
    return result
  }

  /** Every value that it may have had at some moment of this time. */
  between(from: number, until: number): T[] {
    return this.#entries.filter((entry) => entry.from <= until && entry.until >= from).map(({ value }) => value)
  }
}
