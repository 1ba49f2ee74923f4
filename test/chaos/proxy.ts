import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'

export type Mischief =
  | 'none'
  /** Every connection is reset, those that are open and those that come. */
  | 'reset'
  /** Connections open, bytes are swallowed, nothing comes back. */
  | 'blackhole'
  /** Each piece comes 400 ms late. */
  | 'delay'
  /** Answers are cut off after 300 bytes. */
  | 'truncate'
  /** Answers come one byte after another, for ever. */
  | 'drip'
  /** Every 50th byte of an answer is another one. */
  | 'garble'

export interface Proxy {
  port: number
  /** From now on, for connections that are open too. */
  mischief(kind: Mischief): void
  close(): Promise<void>
}

/** A TCP proxy that mistreats what comes back from its target. */
export async function startProxy(target: { host: string; port: number }): Promise<Proxy> {
  let kind: Mischief = 'none'
  const pairs = new Set<Pair>()
  const server = createServer((near) => {
    const pair = new Pair(near, connect(target), () => kind)
    pairs.add(pair)
    near.once('close', () => pairs.delete(pair))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    mischief(next) {
      // What has been mistreated cannot be mended: its client must come again.
      if (next === 'reset' || (next === 'none' && kind !== 'none')) for (const pair of pairs) pair.reset()
      kind = next
    },
    async close() {
      server.close()
      for (const pair of pairs) pair.reset()
      await once(server, 'close')
    },
  }
}

class Pair {
  readonly #near: Socket
  readonly #far: Socket
  readonly #timers = new Set<NodeJS.Timeout>()
  #passed = 0

  constructor(near: Socket, far: Socket, kind: () => Mischief) {
    this.#near = near
    this.#far = far
    near.on('error', () => {})
    far.on('error', () => this.reset())
    near.once('close', () => this.reset())
    far.once('close', () => this.#later(kind() === 'delay' ? 500 : 0, () => near.end()))
    near.on('data', (bytes) => {
      const now = kind()
      if (now === 'reset') this.reset()
      else if (now === 'delay') this.#later(400, () => far.write(bytes))
      else if (now !== 'blackhole') far.write(bytes)
    })
    far.on('data', (bytes) => this.#answer(kind(), bytes))
    if (kind() === 'reset') this.reset()
  }

  #answer(kind: Mischief, bytes: Buffer): void {
    switch (kind) {
      case 'reset':
        this.reset()
        break
      case 'delay':
        this.#later(400, () => this.#near.write(bytes))
        break
      case 'truncate': {
        const room = Math.max(0, 300 - this.#passed)
        this.#passed += bytes.length
        if (bytes.length <= room) this.#near.write(bytes)
        else this.#near.end(bytes.subarray(0, room))
        break
      }
      case 'drip':
        bytes.forEach((_, at) => this.#later(50 * at, () => this.#near.write(bytes.subarray(at, at + 1))))
        break
      case 'garble':
        this.#near.write(bytes.map((byte) => (++this.#passed % 50 === 0 ? byte ^ 1 : byte)))
        break
      case 'none':
        this.#near.write(bytes)
        break
    }
  }

  #later(ms: number, run: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      if (!this.#near.destroyed) run()
    }, ms)
    this.#timers.add(timer)
  }

  reset(): void {
    for (const timer of this.#timers) clearTimeout(timer)
    this.#near.resetAndDestroy()
    this.#far.resetAndDestroy()
  }
}
