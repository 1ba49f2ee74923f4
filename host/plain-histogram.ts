/**
 * A histogram without labels, for what is counted once a request: prom-client's own looks labels up for every value.
 * Registers like a metric of prom-client and is merged like one.
 */
export class PlainHistogram {
  readonly name: string
  readonly #help: string
  readonly #bounds: number[]
  /** By bucket, the last for what is above all bounds. */
  readonly #counts: number[]
  #sum = 0

  /** `bounds` ascend. */
  constructor(name: string, help: string, bounds: number[]) {
    this.name = name
    this.#help = help
    this.#bounds = bounds
    this.#counts = Array.from({ length: bounds.length + 1 }, () => 0)
  }

  observe(value: number): void {
    const bounds = this.#bounds
    let bucket = 0
    while (bucket < bounds.length && value > bounds[bucket]!) bucket++
    this.#counts[bucket]!++
    this.#sum += value
  }

  /** Called by the registry. */
  async get(): Promise<object> {
    let count = 0
    const values = this.#counts.map((inBucket, i) => {
      count += inBucket
      return { labels: { le: this.#bounds[i] ?? '+Inf' }, value: count, metricName: `${this.name}_bucket` }
    })
    const totals = [
      { labels: {}, value: this.#sum, metricName: `${this.name}_sum` },
      { labels: {}, value: count, metricName: `${this.name}_count` },
    ]
    return { name: this.name, help: this.#help, type: 'histogram', aggregator: 'sum', values: [...values, ...totals] }
  }
}
