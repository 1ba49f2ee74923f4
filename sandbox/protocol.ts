/**
 * Every message between a host and an isolate. Both sides import this file; the guest's copy is bundled into its prelude.
 *
 * A **batch** is one flat array: a message's type, its fields, the next message's type, … Types tell how many fields
 * follow (`SUBMIT_FIELDS`, `EMIT_FIELDS`). Fields are strings, numbers, null, byte arrays (`Uint8Array`, owned by the
 * receiver) or arrays of strings. A batch can therefore be copied into an isolate or written to a pipe as it is.
 *
 * Ids: an **event** is one call of a handler (the host numbers them, per sandbox), an **operation** something that the
 * guest asks the host to do (the guest numbers them), a **timer** likewise.
 *
 * The host treats what is emitted as hostile: wrong types, unknown ids and repeated answers end the sandbox or are ignored.
 */

/** Host → guest. */
export const Submit = {
  /** event, requestId, method, url, headers (flat; `cdn-loop`, if any, once and as one of the last two), bodyKind (`BodyKind`), body (bytes, or null) */
  fetch: 1,
  /** event, requestId, cron, scheduledTime (ms since 1970) */
  scheduled: 2,
  /** event, bytes: more of the request body, within the credit that the guest gave */
  bodyChunk: 3,
  /** event: the request body is complete */
  bodyEnd: 4,
  /** event, reason: the request body will not be completed */
  bodyFailed: 5,
  /** event, bytes: the client's side has room for this much more of the response body */
  credit: 6,
  /** event, reason: the client went away, or time is up. The handler's signal aborts; nothing of the event is wanted */
  abort: 7,
  /** operation, result (a plain value by operation): it succeeded */
  operationDone: 8,
  /** operation, errorName (`TypeError`, or a DOMException's name), message */
  operationFailed: 9,
  /** operation, bytes: more of its body, within the credit given */
  operationChunk: 10,
  /** operation: its body is complete */
  operationEnd: 11,
  /** operation, bytes: room for this much more of the body that the guest sends into it */
  operationCredit: 12,
  /** timer: it is due */
  timer: 13,
} as const

export const SUBMIT_FIELDS: readonly number[] = [0, 7, 4, 2, 1, 2, 2, 2, 2, 3, 2, 1, 2, 1]

/** Guest → host. */
export const Emit = {
  /** event, status, headers (flat), body (string, bytes or null): a whole response */
  response: 1,
  /** event, status, headers (flat): a streamed response begins; initial credit is `INITIAL_CREDIT` */
  head: 2,
  /** event, string or bytes; takes as much credit as it has characters or bytes */
  chunk: 3,
  /** event: the streamed response is complete */
  end: 4,
  /** event, message: the streamed response broke off (the error itself comes as a log line) */
  broken: 5,
  /** event, code (`function_threw`, `no_response` or `bad_response`), message, stack */
  failed: 6,
  /** event, bytes: the guest can take this much more of the request body */
  bodyCredit: 7,
  /** event: the guest wants no more of the request body */
  bodyCancel: 8,
  /** event: handler, response body and `waitUntil` promises have settled; the event's id is free */
  done: 9,
  /** event (0: none known), level (`debug` `info` `warn` `error`), text */
  log: 10,
  /** operation, event (0: none known), name, argument (a plain value by operation) */
  operation: 11,
  /** operation, bytes: more of the body that the guest sends into it */
  operationChunk: 12,
  /** operation: that body is complete */
  operationEnd: 13,
  /** operation, bytes: the guest can take this much more of the operation's body */
  operationCredit: 14,
  /** operation: the guest no longer wants it */
  operationCancel: 15,
  /** timer, delay (ms) */
  timer: 16,
  /** timer */
  timerCancel: 17,
  /** problem ('' when the bundle has been evaluated and has handlers), stack, names of the handlers */
  started: 18,
} as const

export const EMIT_FIELDS: readonly number[] = [0, 4, 3, 2, 1, 2, 4, 2, 1, 1, 3, 4, 2, 1, 2, 1, 2, 1, 3]

/** Words of the memory (`Int32Array`) that the guest writes and the host reads at any time, with suspicion. */
export const Progress = {
  /** Events of the batch at hand whose handler has been called. */
  begun: 0,
  /** kB (1,024 bytes) of what V8 does not count: memories and code of WebAssembly, and resizable buffers. */
  meteredKb: 1,
} as const

export const PROGRESS_WORDS = 2

export const BodyKind = { none: 0, whole: 1, stream: 2 } as const

/** Bytes of a body that may be under way in one direction before the receiver says that it has room for more. */
export const INITIAL_CREDIT = 262_144

export type Field = string | number | null | Uint8Array | string[] | PlainObject
export type PlainObject = { [key: string]: Plain }
export type Plain = string | number | boolean | null | Uint8Array | Plain[] | PlainObject | undefined
export type Batch = Field[]

/** What the guest's `start` gets, once. */
export interface GuestOptions {
  /** `vars` and other plain values of the function's `env`. */
  env: Record<string, string>
  /** 32 random bytes that seed the guest's generator. */
  seed: Uint8Array
  /** Milliseconds since 1970. */
  now: number
  /** Bytes of log text an event may write. */
  logBytes: number
  /** The function's memory limit: what wasm memories and resizable buffers, which V8 does not count, may have together. */
  memoryBytes: number
  /** Timers that it may have at a time. */
  timers: number
}
