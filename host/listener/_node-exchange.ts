/** One request that came through node:http, in the clear or over TLS. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { RequestHead } from './_head.ts'
import { DISCARD_BYTES } from './_limits.ts'
import { plainAddress } from './_request.ts'
import { StreamExchange, type StreamTraffic } from './_stream-exchange.ts'

export interface NodeTraffic extends StreamTraffic {
  /** The exchange now expects bytes from its client, or takes no more of them. */
  watch?(req: IncomingMessage, reading: boolean): void
}

export class NodeExchange extends StreamExchange {
  readonly remoteAddress: string
  readonly #watch: NodeTraffic['watch']
  readonly #req: IncomingMessage
  readonly #res: ServerResponse

  constructor(traffic: NodeTraffic, req: IncomingMessage, res: ServerResponse, head: RequestHead) {
    super(traffic, req, res, head)
    this.remoteAddress = plainAddress(req.socket.remoteAddress ?? '')
    this.#watch = traffic.watch
    this.#req = req
    this.#res = res
  }

  protected sendHead(status: number, headers: string[]): void {
    if (this.traffic.draining || this.closes) headers.push('connection', 'close')
    this.#res.writeHead(status, headers)
  }

  protected override reads(reading: boolean): void {
    this.#watch?.(this.#req, reading)
  }

  protected cut(): void {
    this.#res.destroy()
    this.#req.socket.destroy()
  }

  protected isWhole(): boolean {
    const whole = this.#res.writableFinished
    if (whole && !this.bodyDone && this.dropped > DISCARD_BYTES) this.#req.socket.destroy()
    return whole
  }

  /** The answer goes out first; its end then cuts the connection. */
  protected overflowed(): void {
    if (this.phase === 'done') {
      this.#req.socket.destroy()
    } else {
      this.#req.pause()
      this.closes = true
    }
  }
}
