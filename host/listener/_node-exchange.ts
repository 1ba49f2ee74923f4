/** One request that came through node:http. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { byteLength, hasHighBytes, headLength, isBodiless, ownHeaders } from './_headers.ts'
import { DISCARD_BYTES } from './_limits.ts'
import { free, hasten, own } from './_owned.ts'
import { plainAddress } from './_request.ts'
import type { Exchange, ExchangeObserver, FlatHeaders } from './listener.ts'

export interface NodeTraffic {
  draining: boolean
  inFlight: number
  /** Nothing is in flight any more. */
  settled(): void
  /** The exchange now expects bytes from its client, or takes some, or neither. */
  watch?(req: IncomingMessage, reading: boolean): void
}

export interface NodeHead {
  method: string
  url: string
  hostname: string
  headers: FlatHeaders
  bodyLength: number
  closes: boolean
}

export class NodeExchange implements Exchange {
  readonly method: string
  readonly url: string
  readonly hostname: string
  readonly headers: FlatHeaders
  readonly bodyLength: number
  readonly remoteAddress: string

  #traffic: NodeTraffic
  #req: IncomingMessage
  #res: ServerResponse
  #closes: boolean
  #phase: 'open' | 'streaming' | 'ending' | 'done' = 'open'
  #observer: ExchangeObserver | undefined
  #bodiless = false
  #waitsForDrain = false
  #highBytes = false

  #bodyDone: boolean
  #credit = 0
  #reading = false
  #discarding = false
  #dropped = 0

  constructor(traffic: NodeTraffic, req: IncomingMessage, res: ServerResponse, head: NodeHead) {
    this.method = head.method
    this.url = head.url
    this.hostname = head.hostname
    this.headers = head.headers
    this.bodyLength = head.bodyLength
    this.remoteAddress = plainAddress(req.socket.remoteAddress ?? '')
    this.#traffic = traffic
    this.#req = req
    this.#res = res
    this.#closes = head.closes
    this.#bodyDone = head.bodyLength === 0
    traffic.inFlight++
    res.once('close', () => this.#closed())
  }

  observe(observer: ExchangeObserver): void {
    this.#observer = observer
  }

  grant(bytes: number): void {
    this.#credit += bytes
    if (this.#phase !== 'done' && !this.#bodyDone && this.#credit > 0) this.#read()
  }

  discardBody(): void {
    if (this.#phase === 'done' || this.#bodyDone) return
    this.#discarding = true
    this.#read()
  }

  #read(): void {
    const req = this.#req
    if (!this.#reading) {
      this.#reading = true
      req.on('data', (chunk: Uint8Array) => this.#receive(chunk))
      req.once('end', () => this.#bodyEnded())
    } else if (req.isPaused()) {
      req.resume()
    }
    this.#traffic.watch?.(req, true)
  }

  #receive(chunk: Uint8Array): void {
    if (this.#discarding || this.#phase === 'done') {
      this.#dropped += chunk.byteLength
      if (this.#dropped > DISCARD_BYTES) this.#stopDiscarding()
      return
    }
    this.#credit -= chunk.byteLength
    hasten(chunk.byteLength)
    this.#observer?.bodyChunk(chunk, false)
    if (this.#credit > 0 || this.#discarding || this.#bodyDone) return
    this.#req.pause()
    this.#traffic.watch?.(this.#req, false)
  }

  /** The answer goes out first; its end then cuts the connection. */
  #stopDiscarding(): void {
    if (this.#phase === 'done') {
      this.#req.socket.destroy()
    } else {
      this.#req.pause()
      this.#closes = true
    }
  }

  #bodyEnded(): void {
    this.#bodyDone = true
    this.#traffic.watch?.(this.#req, false)
    if (!this.#discarding && this.#phase !== 'done') this.#observer?.bodyChunk(new Uint8Array(0), true)
  }

  /** What is left of the body is read beside the answer. */
  #ignoreBody(): void {
    if (this.#bodyDone) return
    this.#discarding = true
    this.#read()
  }

  respond(status: number, headers: FlatHeaders, body?: string | Uint8Array): void {
    if (this.#phase !== 'open') return
    const own = ownHeaders(status, headers)
    this.#phase = 'ending'
    this.#ignoreBody()
    if (status === 205) {
      own.push('content-length', '0')
    } else if (!isBodiless(status)) {
      const length = this.method === 'HEAD' ? headLength(headers, body) : body === undefined ? 0 : byteLength(body)
      if (length !== undefined) own.push('content-length', String(length))
    }
    this.#writeHead(status, own)
    if (body === undefined || this.method === 'HEAD' || isBodiless(status)) this.#res.end()
    else this.#res.end(this.#bytes(body))
  }

  start(status: number, headers: FlatHeaders): void {
    if (this.#phase !== 'open') return
    const own = ownHeaders(status, headers)
    this.#phase = 'streaming'
    this.#bodiless = this.method === 'HEAD' || isBodiless(status)
    const length = status === 205 ? 0 : this.method === 'HEAD' ? headLength(headers, undefined) : undefined
    if (length !== undefined && (status === 205 || !isBodiless(status))) own.push('content-length', String(length))
    this.#writeHead(status, own)
  }

  #writeHead(status: number, own: string[]): void {
    const close = this.#traffic.draining || this.#closes
    if (close) own.push('connection', 'close')
    this.#highBytes = hasHighBytes(own)
    this.#res.writeHead(status, own)
  }

  #bytes(chunk: string | Uint8Array): string | Uint8Array {
    return this.#highBytes && typeof chunk === 'string' ? Buffer.from(chunk) : chunk
  }

  write(chunk: string | Uint8Array, owned = false): boolean {
    if (this.#phase !== 'streaming') return false
    if (this.#bodiless) return true
    if (chunk.length === 0) return !this.#waitsForDrain
    const bytes = this.#bytes(chunk)
    if (owned && typeof bytes !== 'string') own(bytes)
    if (this.#res.write(bytes, () => free(bytes))) return !this.#waitsForDrain
    if (!this.#waitsForDrain) {
      this.#waitsForDrain = true
      this.#res.once('drain', () => {
        this.#waitsForDrain = false
        this.#observer?.drained()
      })
    }
    return false
  }

  end(): void {
    if (this.#phase !== 'streaming') return
    this.#phase = 'ending'
    this.#ignoreBody()
    this.#res.end()
  }

  abort(): void {
    if (this.#phase === 'done') return
    this.#finish()
    this.#res.destroy()
    this.#req.socket.destroy()
  }

  #finish(): void {
    this.#phase = 'done'
    this.#observer = undefined
    if (--this.#traffic.inFlight === 0) this.#traffic.settled()
  }

  #closed(): void {
    if (this.#phase === 'done') return
    const observer = this.#observer
    const whole = this.#res.writableFinished
    this.#finish()
    if (whole) {
      if (!this.#bodyDone && this.#dropped > DISCARD_BYTES) this.#req.socket.destroy()
      return
    }
    if (!this.#bodyDone) observer?.bodyFailed('the connection closed, or its framing broke, before the body was complete')
    observer?.aborted()
  }
}
