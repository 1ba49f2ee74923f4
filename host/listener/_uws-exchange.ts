/** One request that came through uWebSockets. */
import { byteLength, headBytes, headLength, headText, isBodiless } from './_headers.ts'
import type { RequestHead } from './_head.ts'
import { DISCARD_BYTES } from './_limits.ts'
import { addressText } from './_request.ts'
import type { UwsResponse } from './_uws-api.ts'
import { free, own } from './_owned.ts'
import type { Exchange, ExchangeObserver, FlatHeaders } from './listener.ts'

/** What the exchanges of one listener share. */
export interface UwsTraffic {
  draining: boolean
  inFlight: number
  /** An answer may still be on its way out of uWebSockets' own buffer. */
  lingering: boolean
  /** Nothing is in flight any more. */
  settled(): void
}

/** As much as is handed to uWebSockets at once: what the kernel does not take, uWebSockets copies and keeps. */
const SLICE = 65_536
/** After a stop the kernel may have room for little; this much fits whenever it reports room at all. */
const FIRST_SLICE = 4096

const nothing = (): void => {}

export class UwsExchange implements Exchange {
  readonly method: string
  readonly url: string
  readonly hostname: string
  readonly headers: FlatHeaders
  readonly bodyLength: number

  #traffic: UwsTraffic
  #res: UwsResponse
  readonly #closes: boolean
  /** uWebSockets saw that too: it closes by itself, but leaves the header to say so to us. */
  readonly #closesItself: boolean
  /**
   * uWebSockets' parser of chunks passes over what is no line end: it may see the end of such a body elsewhere than
   * somebody before us did. So nothing that comes behind one is taken for a request: it is answered once uWebSockets is
   * through with the packet (with an answer, it would go on to the next request in it), and the connection closed.
   */
  readonly #chunked: boolean
  #inHandler = true
  #phase: 'open' | 'streaming' | 'ending' | 'done' = 'open'
  #remoteAddress: string | undefined
  #observer: ExchangeObserver | undefined

  // The answer.
  #unsentHead: string | undefined
  #bodiless = false
  #reportedLength: number | undefined
  #blocked = false
  #slice = SLICE
  #watchesRoom = false
  #pending: (string | Uint8Array)[] = []

  // The request's body.
  #bodyDone: boolean
  /** Granted, less what has come from the socket: it may read while this is above 0. */
  #credit = 0
  /** Granted, less what the observer has had. */
  #deliverable = 0
  #paused = false
  #pumping = false
  #received: Uint8Array[] = []
  #discarding = false
  #dropped = 0
  /** The same connection once more: `#res` cannot be used after its answer, but what is left of a body may have to be cut. */
  #spare: UwsResponse | undefined

  constructor(traffic: UwsTraffic, res: UwsResponse, head: RequestHead, spare: UwsResponse | undefined) {
    this.method = head.method
    this.url = head.url
    this.hostname = head.hostname
    this.headers = head.headers
    this.bodyLength = head.bodyLength
    this.#traffic = traffic
    this.#res = res
    this.#closes = head.closes
    this.#closesItself = head.connection?.length === 5
    this.#chunked = head.bodyLength === -1
    this.#spare = spare
    this.#bodyDone = head.bodyLength === 0
    traffic.inFlight++
    if (!this.#bodyDone) res.onData((chunk, last) => this.#receive(chunk, last))
  }

  get remoteAddress(): string {
    if (this.#remoteAddress === undefined) {
      this.#remoteAddress = this.#phase === 'done' ? '' : addressText(new Uint8Array(this.#res.getRemoteAddress()))
    }
    return this.#remoteAddress
  }

  get isDone(): boolean {
    return this.#phase === 'done'
  }

  /** uWebSockets ends the process when its handler leaves a request neither answered nor watched. */
  handlerReturned(): void {
    this.#inHandler = false
    if (this.#phase !== 'done') this.#res.onAborted(() => this.#gone())
  }

  observe(observer: ExchangeObserver): void {
    this.#observer = observer
  }

  grant(bytes: number): void {
    this.#credit += bytes
    this.#deliverable += bytes
    if (this.#phase === 'done') return
    if (this.#received.length > 0) queueMicrotask(() => this.#pump())
    if (this.#credit > 0) this.#resume()
  }

  discardBody(): void {
    if (this.#phase === 'done') return
    this.#discarding = true
    this.#received = []
    this.#resume()
  }

  respond(status: number, headers: FlatHeaders, body?: string | Uint8Array): void {
    if (this.#phase !== 'open') return
    const head = headText(status, headers)
    const bodiless = this.method === 'HEAD' || isBodiless(status)
    const length = this.method === 'HEAD' && !isBodiless(status) ? headLength(headers, body) : status === 205 ? 0 : undefined
    if (this.#chunked) {
      this.#phase = 'ending'
      this.#unread()
      this.#afterwards(() => this.#res.cork(() => this.#answer(head, bodiless, length, body)))
    } else if (this.#inHandler) this.#answer(head, bodiless, length, body)
    else this.#res.cork(() => this.#answer(head, bodiless, length, body))
  }

  #afterwards(run: () => void): void {
    setImmediate(() => {
      if (this.#phase === 'ending') run()
    })
  }

  /** What is left of the body is read beside the answer. */
  #unread(): void {
    if (this.#bodyDone) return
    this.#discarding = true
    this.#received = []
    this.#resume()
  }

  #answer(head: string, bodiless: boolean, length: number | undefined, body: string | Uint8Array | undefined): void {
    const res = this.#res
    // Without the spare nothing could stop the rest of the body later.
    const close = this.#saysClose() || (this.#bodyDone ? this.#chunked : this.#spare === undefined)
    this.#unread()
    if (bodiless) {
      // endWithoutBody can close only when it also writes a length.
      const saysClose = close && (this.#closesItself || length === undefined)
      this.#writeHead(head, saysClose)
      this.#finish()
      if (length === undefined) res.endWithoutBody()
      else res.endWithoutBody(length, close)
      return
    }
    if (body !== undefined && byteLength(body) > SLICE) {
      this.#writeHead(head, close)
      this.#phase = 'ending'
      this.#answerLarge(typeof body === 'string' ? Buffer.from(body) : body)
      return
    }
    this.#writeHead(head, close && this.#closesItself)
    this.#finish()
    res.end(body ?? '', close)
  }

  /** Feeds the kernel straight from the caller's bytes, so that nothing is copied. */
  #answerLarge(body: Uint8Array): void {
    const res = this.#res
    const total = body.byteLength
    let answered = res.tryEnd(body, total)[1]
    if (answered) return this.#finish()
    res.onWritable((offset) => {
      let accepted = false
      res.cork(() => ([accepted, answered] = res.tryEnd(body.subarray(offset), total)))
      if (answered) this.#finish()
      return accepted
    })
  }

  #saysClose(): boolean {
    return this.#traffic.draining || this.#closes
  }

  #writeHead(head: string, saysClose: boolean): void {
    this.#res.writeStatus(headBytes(saysClose ? `${head}\r\nconnection: close` : head))
  }

  start(status: number, headers: FlatHeaders): void {
    if (this.#phase !== 'open') return
    this.#unsentHead = headText(status, headers)
    this.#bodiless = this.method === 'HEAD' || isBodiless(status)
    if (status === 205) this.#reportedLength = 0
    else if (this.method === 'HEAD' && !isBodiless(status)) this.#reportedLength = headLength(headers, undefined)
    this.#phase = 'streaming'
  }

  write(chunk: string | Uint8Array, owned = false): boolean {
    if (this.#phase !== 'streaming') return false
    if (this.#bodiless) return true
    if (chunk.length === 0) return !this.#blocked
    const bytes = typeof chunk === 'string' && chunk.length > SLICE / 4 ? Buffer.from(chunk) : chunk
    if (owned && typeof bytes !== 'string') own(bytes)
    if (this.#blocked) this.#pending.push(bytes)
    else this.#push(bytes)
    return !this.#blocked
  }

  #push(bytes: string | Uint8Array): void {
    if (typeof bytes === 'string') {
      this.#blocked = !this.#send(bytes)
    } else {
      for (let at = 0; at < bytes.byteLength && !this.#blocked;) {
        const slice = bytes.subarray(at, at + this.#slice)
        at += slice.byteLength
        this.#slice = SLICE
        this.#blocked = !this.#send(slice)
        if (at >= bytes.byteLength) free(bytes)
        else if (this.#blocked) this.#pending.unshift(bytes.subarray(at))
      }
    }
    if (!this.#blocked) return
    // A write that finds no room makes uWebSockets poll for both directions again.
    this.#paused = false
    if (this.#watchesRoom) return
    this.#watchesRoom = true
    this.#res.onWritable(() => this.#room())
  }

  #send(slice: string | Uint8Array): boolean {
    let accepted = false
    // One cork for each slice: a slice larger than the cork buffer ends it, and what follows would go out in crumbs.
    this.#res.cork(() => {
      if (this.#unsentHead !== undefined) this.#writeHead(this.#unsentHead, this.#saysClose() || this.#chunked)
      this.#unsentHead = undefined
      accepted = this.#res.write(slice)
    })
    return accepted
  }

  #room(): boolean {
    if (this.#phase === 'done') return true
    this.#blocked = false
    this.#slice = FIRST_SLICE
    // With a handler for room, uWebSockets leaves what it has buffered to the next write. An empty cork is one.
    this.#res.cork(nothing)
    while (!this.#blocked && this.#pending.length > 0) this.#push(this.#pending.shift()!)
    if (this.#blocked) return true
    if (this.#phase === 'ending') this.#endStream()
    else this.#observer?.drained()
    return true
  }

  end(): void {
    if (this.#phase !== 'streaming') return
    this.#phase = 'ending'
    if (this.#blocked) return
    if (this.#chunked) this.#afterwards(() => !this.#blocked && this.#endStream())
    else this.#endStream()
  }

  #endStream(): void {
    const head = this.#unsentHead
    if (head !== undefined) {
      this.#res.cork(() => this.#answer(head, this.#bodiless, this.#reportedLength, ''))
      return
    }
    if (!this.#bodyDone) this.#resume()
    const res = this.#res
    // What room() could not see leave may still be in uWebSockets' buffer.
    if (this.#watchesRoom) this.#traffic.lingering = true
    this.#finish()
    res.cork(() => res.end())
    // To end it with a close would put a header field among the chunks. Unread bytes of a client that waits are lost by this.
    if (this.#chunked && this.#bodyDone && !this.#watchesRoom) this.#spare?.close()
  }

  abort(): void {
    if (this.#phase === 'done') return
    this.#finish()
    this.#res.close()
  }

  #finish(): void {
    this.#phase = 'done'
    this.#pending = []
    this.#received = []
    this.#observer = undefined
    if (--this.#traffic.inFlight === 0) this.#traffic.settled()
  }

  #gone(): void {
    if (this.#phase === 'done') return
    const observer = this.#observer
    const bodyDone = this.#bodyDone
    this.#finish()
    if (!bodyDone) observer?.bodyFailed('the connection closed, or its framing broke, before the body was complete')
    observer?.aborted()
  }

  /**
   * uWebSockets restores the polling it remembers from any socket's last pause, by whether something is buffered, and
   * remembers nothing at first: a socket with buffered bytes could stay deaf for ever. An empty cork flushes the buffer,
   * or, when it cannot, turns polling on.
   */
  #resume(): void {
    if (!this.#paused) return
    this.#paused = false
    const wrote = this.#phase !== 'open'
    if (wrote) this.#res.cork(nothing)
    this.#res.resume()
    if (wrote) this.#res.cork(nothing)
  }

  #receive(chunk: ArrayBuffer, last: boolean): void {
    this.#bodyDone ||= last
    // uWebSockets goes on with what it has read when it is paused: nothing may come for which anybody would resume it, and
    // the connection's next request would not be read.
    if (last && this.#phase !== 'done') this.#resume()
    if (this.#phase === 'done' || this.#discarding) return this.#drop(chunk.byteLength, last)
    if (chunk.byteLength > 0 || last) {
      this.#received.push(new Uint8Array(chunk.slice(0)))
      this.#credit -= chunk.byteLength
    }
    this.#pump()
    if (last || this.#credit > 0 || this.isDone || this.#discarding) return
    if (!this.#blocked) this.#pause()
    else if (this.#credit < -DISCARD_BYTES) this.#cut()
  }

  /** Not while an answer waits for room: uWebSockets then would not hear of the room. */
  #pause(): void {
    this.#paused = true
    this.#res.pause()
  }

  /** The client sends what nobody takes and does not take what it is sent. */
  #cut(): void {
    const res = this.#res
    this.#gone()
    res.close()
  }

  #drop(bytes: number, last: boolean): void {
    this.#dropped += bytes
    if (last && this.#chunked && this.#phase === 'done') return this.#spare?.close()
    if (last || this.#dropped <= DISCARD_BYTES) return
    if (this.#phase === 'done') this.#spare?.close()
    else if (this.#phase === 'ending' || this.#blocked) this.#cut()
    else this.#pause()
  }

  #pump(): void {
    if (this.#pumping) return
    this.#pumping = true
    try {
      while (this.#received.length > 0) {
        const chunk = this.#received[0]!
        if (this.#observer === undefined || (this.#deliverable <= 0 && chunk.byteLength > 0)) break
        this.#received.shift()
        this.#deliverable -= chunk.byteLength
        this.#observer.bodyChunk(chunk, this.#bodyDone && this.#received.length === 0)
      }
    } finally {
      this.#pumping = false
    }
  }
}
