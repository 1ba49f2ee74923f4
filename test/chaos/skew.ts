/**
 * Preloaded into a host (NODE_OPTIONS=--import=…): its calendar is off by as many milliseconds as the file in SKEP_SKEW says,
 * read again at each SIGUSR2. Monotonic clocks go on as they do when somebody sets the machine's clock.
 */
import { readFileSync } from 'node:fs'

const RealDate = Date
let skew = 0

class SkewedDate extends RealDate {
  constructor(...given: [] | [number]) {
    super(...((given.length === 0 ? [RealDate.now() + skew] : given) as [number]))
  }

  static override now(): number {
    return RealDate.now() + skew
  }
}

// Date() without new, which a class does not allow, is a text of the time.
globalThis.Date = new Proxy(SkewedDate, { apply: () => new SkewedDate().toString() }) as unknown as DateConstructor

process.on('SIGUSR2', () => {
  skew = Number(readFileSync(process.env['SKEP_SKEW']!, 'utf8'))
})
