/** One request that came over HTTP/2. */
import { constants, type ServerHttp2Stream } from 'node:http2'
import type { RequestHead } from './_head.ts'
import { MIN_BODY_BYTES_PER_MS } from './_limits.ts'
import { StreamExchange, type StreamTraffic } from './_stream-exchange.ts'

/** As much of an answer as is written at once, so that a slow client's progress can be seen. */
const PIECE = 131_072

const { NGHTTP2_NO_ERROR } = constants

export class H2Exchange extends StreamExchange {
  readonly remoteAddress: string
  readonly #stream: ServerHttp2Stream
  #readSince = 0
  #readBytes = 0
  #received = 0
  #writes = 0
  #writeSince = 0

  constructor(traffic: StreamTraffic, stream: ServerHttp2Stream, head: RequestHead, remoteAddress: string) {
    super(traffic, stream, stream, head)
    this.remoteAddress = remoteAddress
    this.#stream = stream
    if (!this.bodyDone) {
      stream.once('finish', () => {
        // RFC 9113, 8.1: the answer is complete, and the rest of the request is not wanted.
        if (!this.bodyDone) stream.close(NGHTTP2_NO_ERROR)
      })
    }
  }

  protected sendHead(status: number, headers: string[], bodiless: boolean): void {
    this.#stream.respond([':status', String(status), ...headers], { endStream: bodiless })
  }

  protected override sendBody(body: string | Uint8Array | undefined): void {
    if (body === undefined) return
    const bytes = typeof body === 'string' ? Buffer.from(body) : body
    if (bytes.byteLength <= PIECE) {
      this.#counted()
      this.#stream.end(bytes, () => this.wrote())
    } else {
      this.#sendPiece(bytes, 0)
    }
  }

  #sendPiece(bytes: Uint8Array, at: number): void {
    if (this.#stream.destroyed) return
    this.#counted()
    const last = at + PIECE >= bytes.byteLength
    const piece = bytes.subarray(at, at + PIECE)
    if (last) this.#stream.end(piece, () => this.wrote())
    else {
      this.#stream.write(piece, () => {
        this.wrote()
        this.#sendPiece(bytes, at + PIECE)
      })
    }
  }

  override write(chunk: string | Uint8Array, owned?: boolean): boolean {
    if (this.phase === 'streaming' && chunk.length > 0) this.#counted()
    return super.write(chunk, owned)
  }

  #counted(): void {
    if (this.#writes++ === 0) this.#writeSince = performance.now()
  }

  protected override wrote(): void {
    this.#writes--
    this.#writeSince = performance.now()
  }

  protected override reads(reading: boolean): void {
    this.#readSince = reading ? performance.now() : 0
    this.#readBytes = this.#received
  }

  protected override took(bytes: number): void {
    this.#received += bytes
  }

  /** HTTP/2 can refuse the rest of a body and keep the connection: nothing is read for politeness. */
  protected override ignoreBody(): void {}

  protected overflowed(): void {
    this.stopReading()
  }

  /** Not `close`, which ends the answer as if it were whole before it resets the stream. */
  protected cut(): void {
    this.#stream.destroy(new Error('cut'))
  }

  /** A stream that is reset ends for its readers, too, as if the body were whole. */
  protected override endedWell(): boolean {
    return !this.#stream.closed && !this.#stream.destroyed
  }

  protected isWhole(): boolean {
    return this.phase === 'ending' && this.#stream.rstCode === NGHTTP2_NO_ERROR
  }

  /** Ends the stream when its client has sent too little of a body, or taken nothing of an answer, for `idleMs`. */
  cutIfSlow(now: number, idleMs: number): void {
    if (this.#readSince > 0 && !this.bodyDone && now - this.#readSince >= idleMs) {
      if (this.#received - this.#readBytes < MIN_BODY_BYTES_PER_MS * idleMs) return this.cut()
      this.reads(true)
    }
    if (this.#writes > 0 && now - this.#writeSince >= idleMs) this.cut()
  }
}
