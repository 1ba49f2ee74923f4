/** One request whose body is a readable stream of Node's and whose answer a writable one: HTTP/1.1 or HTTP/2. */
import type { Readable, Writable } from 'node:stream'
import { byteLength, hasHighBytes, headLength, isBodiless, ownHeaders } from './_headers.ts'
import type { RequestHead } from './_head.ts'
import { DISCARD_BYTES } from './_limits.ts'
import { free, hasten, own } from './_owned.ts'
import type { Exchange, ExchangeObserver, FlatHeaders } from './listener.ts'

/** What the exchanges of one listener share. */
export interface StreamTraffic {
  draining: boolean
  inFlight: number
  /** Nothing is in flight any more. */
  settled(): void
}

export abstract class StreamExchange implements Exchange {
  readonly method: string
  readonly url: string
  readonly hostname: string
  readonly headers: FlatHeaders
  readonly bodyLength: number
  abstract readonly remoteAddress: string

  protected readonly traffic: StreamTraffic
  protected phase: 'open' | 'streaming' | 'ending' | 'done' = 'open'
  protected bodyDone: boolean
  /** Bytes of the body that were thrown away. */
  protected dropped = 0
  protected closes: boolean

  readonly #source: Readable
  readonly #sink: Writable
  #observer: ExchangeObserver | undefined
  #bodiless = false
  #waitsForDrain = false
  #highBytes = false
  #credit = 0
  #reading = false
  #discarding = false

  constructor(traffic: StreamTraffic, source: Readable, sink: Writable, head: RequestHead) {
    this.method = head.method
    this.url = head.url
    this.hostname = head.hostname
    this.headers = head.headers
    this.bodyLength = head.bodyLength
    this.traffic = traffic
    this.#source = source
    this.#sink = sink
    this.closes = head.closes
    this.bodyDone = head.bodyLength === 0
    traffic.inFlight++
    sink.once('close', () => this.#closed())
  }

  protected abstract sendHead(status: number, headers: string[], bodiless: boolean): void
  /** Ends both directions at once, in a way that the client notices. */
  protected abstract cut(): void
  /** Once the sink is closed: whether all of the answer went out. */
  protected abstract isWhole(): boolean
  /** More of an unwanted body has come than is read for its client's sake. */
  protected abstract overflowed(): void
  /** The exchange now expects bytes from its client, or takes no more of them. */
  protected reads(_reading: boolean): void {}
  /** The source ended because the body did. */
  protected endedWell(): boolean {
    return true
  }
  /** Bytes of the body have come. */
  protected took(_bytes: number): void {}
  /** Bytes that were written have left. */
  protected wrote(): void {}

  observe(observer: ExchangeObserver): void {
    this.#observer = observer
  }

  grant(bytes: number): void {
    this.#credit += bytes
    if (this.phase !== 'done' && !this.bodyDone && this.#credit > 0) this.#read()
  }

  discardBody(): void {
    if (this.phase === 'done' || this.bodyDone) return
    this.#discarding = true
    this.#read()
  }

  #read(): void {
    const source = this.#source
    if (!this.#reading) {
      this.#reading = true
      source.on('data', (chunk: Uint8Array) => this.#receive(chunk))
      source.once('end', () => this.#bodyEnded())
    } else if (source.isPaused()) {
      source.resume()
    }
    this.reads(true)
  }

  #receive(chunk: Uint8Array): void {
    this.took(chunk.byteLength)
    if (this.#discarding || this.phase === 'done') {
      this.dropped += chunk.byteLength
      if (this.dropped > DISCARD_BYTES) this.overflowed()
      return
    }
    this.#credit -= chunk.byteLength
    hasten(chunk.byteLength)
    this.#observer?.bodyChunk(chunk, false)
    if (this.#credit > 0 || this.#discarding || this.bodyDone) return
    this.stopReading()
  }

  protected stopReading(): void {
    this.#source.pause()
    this.reads(false)
  }

  #bodyEnded(): void {
    if (!this.endedWell()) return
    this.bodyDone = true
    this.reads(false)
    if (!this.#discarding && this.phase !== 'done') this.#observer?.bodyChunk(new Uint8Array(0), true)
  }

  /** What is left of the body is read beside the answer. */
  protected ignoreBody(): void {
    if (this.bodyDone) return
    this.#discarding = true
    this.#read()
  }

  respond(status: number, headers: FlatHeaders, body?: string | Uint8Array): void {
    if (this.phase !== 'open') return
    const own = ownHeaders(status, headers)
    this.phase = 'ending'
    this.ignoreBody()
    if (status === 205) {
      own.push('content-length', '0')
    } else if (!isBodiless(status)) {
      const length = this.method === 'HEAD' ? headLength(headers, body) : body === undefined ? 0 : byteLength(body)
      if (length !== undefined) own.push('content-length', String(length))
    }
    this.#highBytes = hasHighBytes(own)
    const bodiless = body === undefined || this.method === 'HEAD' || isBodiless(status)
    this.sendHead(status, own, bodiless)
    this.sendBody(bodiless ? undefined : this.#bytes(body))
  }

  protected sendBody(body: string | Uint8Array | undefined): void {
    if (body === undefined) this.#sink.end()
    else this.#sink.end(body)
  }

  start(status: number, headers: FlatHeaders): void {
    if (this.phase !== 'open') return
    const own = ownHeaders(status, headers)
    this.phase = 'streaming'
    this.#bodiless = this.method === 'HEAD' || isBodiless(status)
    const length = status === 205 ? 0 : this.method === 'HEAD' ? headLength(headers, undefined) : undefined
    if (length !== undefined && (status === 205 || !isBodiless(status))) own.push('content-length', String(length))
    this.#highBytes = hasHighBytes(own)
    this.sendHead(status, own, this.#bodiless)
  }

  #bytes(chunk: string | Uint8Array): string | Uint8Array {
    return this.#highBytes && typeof chunk === 'string' ? Buffer.from(chunk) : chunk
  }

  write(chunk: string | Uint8Array, owned = false): boolean {
    if (this.phase !== 'streaming') return false
    if (this.#bodiless) return true
    if (chunk.length === 0) return !this.#waitsForDrain
    const bytes = this.#bytes(chunk)
    if (owned && typeof bytes !== 'string') own(bytes)
    if (this.#sink.write(bytes, () => this.#out(bytes))) return !this.#waitsForDrain
    if (!this.#waitsForDrain) {
      this.#waitsForDrain = true
      this.#sink.once('drain', () => {
        this.#waitsForDrain = false
        this.#observer?.drained()
      })
    }
    return false
  }

  #out(bytes: string | Uint8Array): void {
    free(bytes)
    this.wrote()
  }

  end(): void {
    if (this.phase !== 'streaming') return
    this.phase = 'ending'
    this.ignoreBody()
    this.#sink.end()
  }

  abort(): void {
    if (this.phase === 'done') return
    this.#finish()
    this.cut()
  }

  #finish(): void {
    this.phase = 'done'
    this.#observer = undefined
    if (--this.traffic.inFlight === 0) this.traffic.settled()
  }

  #closed(): void {
    if (this.phase === 'done') return
    const observer = this.#observer
    const whole = this.isWhole()
    this.#finish()
    if (whole) return
    if (!this.bodyDone) observer?.bodyFailed('the connection closed, or its framing broke, before the body was complete')
    observer?.aborted()
  }
}
