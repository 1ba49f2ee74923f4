import type { ErrorCode } from './errors.ts'
import type { Exchange, ExchangeObserver } from './listener/listener.ts'
import { answerError } from './answer.ts'

/** A body of at most this size and known length is waited for and goes in with the event; a longer one streams. */
export const WHOLE_BODY = 65_536

/** What a call tells the instance that runs it. */
export interface CallRunner {
  bodyChunk(call: Call, bytes: Uint8Array, last: boolean): void
  bodyFailed(call: Call, reason: string): void
  credit(call: Call, bytes: number): void
  gone(call: Call): void
}

/**
 * One request on its way through the host.
 *
 *     waiting ──▶ running ──▶ answering ──▶ answered      gone: the client left before that
 */
export class Call implements ExchangeObserver {
  readonly exchange: Exchange
  readonly requestId: string
  readonly startedAt: number
  phase: 'waiting' | 'running' | 'answering' | 'answered' | 'gone' = 'waiting'
  /** The instance that runs it, from when it was submitted. */
  runner: CallRunner | undefined
  /** Its number in that instance. */
  event = 0
  /** Bytes of a streamed body that a guest has been given: such a call cannot be run again. */
  bodyDelivered = 0
  /** How often it was moved to a fresh isolate. */
  moves = 0
  /** When it must have ended, on `performance.now()`'s clock. */
  deadline = 0
  /** Status of the answer, or the error's code: for the metrics. */
  outcome: number | ErrorCode = 0
  /** A whole body as it comes in. */
  whole: Uint8Array | null = null
  #received = 0
  #gathered: (() => void) | undefined
  /** Written to a client that does not take more yet: credited when it does. */
  #unread = 0
  readonly #finished: (call: Call) => void

  /** `finished` is called once, when the answer is complete or the client gone. */
  constructor(exchange: Exchange, requestId: string, finished: (call: Call) => void) {
    this.exchange = exchange
    this.requestId = requestId
    this.startedAt = performance.now()
    this.#finished = finished
  }

  /** Takes a short body in before anything else happens, then goes on. */
  gather(then: () => void): void {
    this.#gathered = then
    this.whole = new Uint8Array(this.exchange.bodyLength)
    this.exchange.grant(this.exchange.bodyLength)
  }

  bodyChunk(bytes: Uint8Array, last: boolean): void {
    if (this.whole === null || this.#gathered === undefined) {
      this.runner?.bodyChunk(this, bytes, last)
      return
    }
    if (this.#received + bytes.length > this.whole.length) return
    this.whole.set(bytes, this.#received)
    this.#received += bytes.length
    if (!last) return
    const then = this.#gathered
    this.#gathered = undefined
    then()
  }

  bodyFailed(reason: string): void {
    this.runner?.bodyFailed(this, reason)
  }

  drained(): void {
    const bytes = this.#unread
    this.#unread = 0
    if (bytes > 0) this.runner?.credit(this, bytes)
  }

  aborted(): void {
    if (this.phase === 'answered' || this.phase === 'gone') return
    this.phase = 'gone'
    this.runner?.gone(this)
    this.#finished(this)
  }

  /** The whole answer. Throws a TypeError for fields that HTTP does not allow. */
  respond(status: number, headers: string[], body: string | Uint8Array | null): void {
    headers.push('skep-request-id', this.requestId)
    if (body === null) this.exchange.respond(status, headers)
    else this.exchange.respond(status, headers, body)
    this.#answered(status)
  }

  /** The head of a streamed answer. Throws like `respond`. */
  start(status: number, headers: string[]): void {
    headers.push('skep-request-id', this.requestId)
    this.exchange.start(status, headers)
    this.phase = 'answering'
    this.outcome = status
  }

  write(bytes: Uint8Array): void {
    if (this.phase !== 'answering') return
    if (this.exchange.write(bytes)) this.runner?.credit(this, bytes.length)
    else this.#unread += bytes.length
  }

  end(): void {
    if (this.phase !== 'answering') return
    this.exchange.end()
    this.#answered(this.outcome)
  }

  /** Answers with an error, or cuts an answer that has begun: its client must not take it for whole. */
  fail(code: ErrorCode): void {
    if (this.phase === 'answered' || this.phase === 'gone') return
    if (this.phase === 'answering') this.exchange.abort()
    else answerError(this.exchange, code, this.requestId)
    this.#answered(code)
  }

  #answered(outcome: number | ErrorCode): void {
    this.outcome = outcome
    this.phase = 'answered'
    this.#finished(this)
  }
}
