import { INITIAL_CREDIT } from '../sandbox/protocol.ts'
import type { Admission } from './admission.ts'
import { answerError } from './answer.ts'
import type { ErrorCode } from './errors.ts'
import type { Refusals } from './refusals.ts'
import { stripOwnHeaders } from './own-headers.ts'
import type { Exchange, ExchangeObserver } from './listener/listener.ts'
import type { FunctionUse } from './usage.ts'

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
 *     waiting ⇄ running ──▶ answering ──▶ answered      gone: the client left before that
 */
export class Call implements ExchangeObserver {
  readonly exchange: Exchange
  /** How it is refused; without them, at once. */
  refusals: Refusals | undefined
  readonly requestId: string
  readonly startedAt: number
  phase: 'waiting' | 'running' | 'answering' | 'answered' | 'gone' = 'waiting'
  /** The instance that has it, in its queue or in its sandbox. */
  runner: CallRunner | undefined
  /** Its number in that instance's sandbox; 0 while it is in none. */
  event = 0
  /** The guest has been heard of it: it cannot be run again. */
  begun = false
  /** How often it was moved to a fresh isolate. */
  moves = 0
  /** When it must have ended, on the clock of its instance. */
  deadline = 0
  /** Status of the answer, or the error's code: for the metrics. */
  outcome: number | ErrorCode = 0
  /** What all header fields of its answer may have, as its instance says. */
  headerBytes = 0
  /** Characters that it has logged. */
  logged = 0

  /** Whose it is, and who has let it in, once that is known. */
  use: FunctionUse | undefined
  admission: Admission | undefined
  /** It counts as in flight. */
  isIn = false
  /** What it is expected to take, microseconds of CPU time, while it waits for that; and whether that is much. */
  queuedMicros = 0
  isCostly = false
  /** Since when the host could run it: a short body is gathered before. */
  waitsSince: number

  /** A body that goes in with the event. */
  whole: Uint8Array | null = null
  /** What has come of a streamed one while the guest had not been heard of: a fresh isolate gets it again. */
  body: Uint8Array[] = []
  bodyReceived = 0
  bodyEnded = false
  /** Room for the streamed body has been given to the client's side once. */
  bodyAsked = false
  /** Bytes that the guest was given and has not made room for again: it can give no more credit than that. */
  bodyTaken = 0

  #gathered: (() => void) | undefined
  /** Written to a client that does not take more yet: credited when it does. */
  #unread = 0
  readonly #finished: (call: Call) => void

  /** `finished` is called once, when the answer is complete or the client gone. */
  constructor(exchange: Exchange, requestId: string, startedAt: number, finished: (call: Call) => void) {
    this.exchange = exchange
    this.requestId = requestId
    this.startedAt = startedAt
    this.waitsSince = startedAt
    this.#finished = finished
  }

  /** Takes a short body in before anything else happens, then goes on. */
  gather(then: () => void): void {
    this.#gathered = then
    this.whole = new Uint8Array(this.exchange.bodyLength)
    this.exchange.grant(this.exchange.bodyLength)
  }

  bodyChunk(bytes: Uint8Array, last: boolean): void {
    if (this.#gathered !== undefined) {
      this.#gather(this.#gathered, bytes, last)
      return
    }
    this.bodyReceived += bytes.length
    if (last) this.bodyEnded = true
    if (!this.begun && bytes.length > 0) this.body.push(bytes)
    if (this.event > 0) this.runner?.bodyChunk(this, bytes, last)
  }

  #gather(then: () => void, bytes: Uint8Array, last: boolean): void {
    const whole = this.whole!
    const end = this.bodyReceived + bytes.length
    // Listeners hold a body to its length; whoever makes a Request by hand may have promised another.
    if (end > whole.length || (last && end < whole.length)) {
      this.bodyFailed('The body does not have the length that its header says')
      return
    }
    whole.set(bytes, this.bodyReceived)
    this.bodyReceived = end
    // The last byte is enough: node:http tells of the end only to those who read on.
    if (end < whole.length) return
    this.#gathered = undefined
    then()
  }

  bodyFailed(reason: string): void {
    if (this.event > 0) {
      this.runner?.bodyFailed(this, reason)
      return
    }
    // No handler has it yet and none can do anything with it.
    this.#gathered = undefined
    this.fail('bad_request')
  }

  drained(): void {
    const bytes = this.#unread
    this.#unread = 0
    if (bytes > 0) this.runner?.credit(this, bytes)
  }

  aborted(): void {
    if (this.phase === 'answered' || this.phase === 'gone') return
    this.phase = 'gone'
    this.#gathered = undefined
    this.runner?.gone(this)
    this.#finished(this)
  }

  /** Back to the pool, for a fresh isolate. */
  move(): void {
    this.phase = 'waiting'
    this.runner = undefined
    this.event = 0
    this.moves++
  }

  /** The whole answer. Throws a TypeError for fields that HTTP does not allow. */
  respond(status: number, headers: string[], body: string | Uint8Array | null): void {
    this.#seal(status, headers)
    if (body === null) this.exchange.respond(status, headers)
    else this.exchange.respond(status, headers, body)
    this.#answered(status)
  }

  /** The head of a streamed answer. Throws like `respond`. */
  start(status: number, headers: string[]): void {
    this.#seal(status, headers)
    this.exchange.start(status, headers)
    this.phase = 'answering'
    this.outcome = status
  }

  /** False when the guest writes on although it was given no room: nothing else would bound what waits here. */
  write(chunk: string | Uint8Array): boolean {
    if (this.phase !== 'answering') return true
    if (this.#unread >= INITIAL_CREDIT) return false
    // Once they are out, what was freed has no length any more.
    const { length } = chunk
    if (this.exchange.write(chunk, true)) this.runner?.credit(this, length)
    else this.#unread += length
    return true
  }

  end(): void {
    if (this.phase !== 'answering') return
    this.exchange.end()
    this.#answered(this.outcome)
  }

  /** Answers with an error, or cuts an answer that has begun: its client must not take it for whole. `retryAfter`: seconds. */
  fail(code: ErrorCode, retryAfter?: number): void {
    if (this.phase === 'answered' || this.phase === 'gone') return
    if (this.phase === 'answering') this.exchange.abort()
    else this.#refuse(code, retryAfter ?? this.#retryAfter(code))
    this.#answered(code)
  }

  #refuse(code: ErrorCode, retryAfter: number | undefined): void {
    const send = () => answerError(this.exchange, code, this.requestId, retryAfter)
    if (this.refusals === undefined) send()
    else this.refusals.send(code, send)
  }

  /** Told only to whom waiting helps; for other codes what they always say. */
  #retryAfter(code: ErrorCode): number | undefined {
    if ((code !== 'overloaded' && code !== 'saturated') || this.use === undefined) return undefined
    return this.admission?.retryAfter(this.use)
  }

  #seal(status: number, headers: string[]): void {
    if (!Number.isInteger(status) || status < 200 || status > 599)
      throw new TypeError(`Status ${status} is not between 200 and 599`)
    stripOwnHeaders(headers, this.headerBytes)
    headers.push('skep-request-id', this.requestId)
  }

  #answered(outcome: number | ErrorCode): void {
    this.outcome = outcome
    this.phase = 'answered'
    this.body = []
    this.#finished(this)
  }
}
