import { lookup } from 'node:dns'
import type { LookupAddress } from 'node:dns'

export type Resolve = (hostname: string, callback: (error: Error | null, addresses: LookupAddress[]) => void) => void

/** The system's own: `/etc/hosts`, search domains and all. */
export const systemResolve: Resolve = (hostname, callback) =>
  lookup(hostname, { all: true }, (error, addresses) => callback(error, addresses ?? []))

/** Look-ups of one tenant at a time. */
const AT_ONCE = 2

/** RFC 6761: such names are this machine, and DNS has no say in it. */
const LOCALHOST = /^(?:.+\.)?localhost\.?$/i
const LOCAL_ADDRESSES: LookupAddress[] = [
  { address: '127.0.0.1', family: 4 },
  { address: '::1', family: 6 },
]

/**
 * DNS for one tenant. Node looks names up on the few threads of a pool that all tenants share, and a name server may take
 * its time: each tenant has few look-ups under way, the others wait in line behind them.
 */
export class Lookups {
  readonly #resolve: Resolve
  readonly #waiting: (() => void)[] = []
  #underWay = 0

  constructor(resolve: Resolve) {
    this.#resolve = resolve
  }

  find(hostname: string, callback: Parameters<Resolve>[1]): void {
    if (LOCALHOST.test(hostname)) {
      process.nextTick(callback, null, LOCAL_ADDRESSES)
      return
    }
    const begin = () => {
      this.#underWay++
      this.#resolve(hostname, (error, addresses) => {
        this.#underWay--
        if (this.#underWay < AT_ONCE) this.#waiting.shift()?.()
        callback(error, addresses)
      })
    }
    if (this.#underWay < AT_ONCE) begin()
    else this.#waiting.push(begin)
  }
}
