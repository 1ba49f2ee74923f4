import { isResponse, responseParts } from './response.ts'
import { ByteReader, cancelBody, takeBody } from './body.ts'
import { eventBegan, eventEnded, runAs } from './current.ts'
import { DOMException } from './dom-exception.ts'
import { HostBody } from './host-body.ts'
import { operationChunk, operationCredit, operationDone, operationEnd, operationFailed } from './operations.ts'
import { log, resetLog } from './log.ts'
import { post, postChunk } from './outbox.ts'
import {
  objectCreate,
  objectDefineProperty,
  PromiseConstructor,
  reflectApply,
  typedArrayByteLength,
  typedArraySlice,
} from './primordials.ts'
import { BodyKind, Emit, INITIAL_CREDIT, Progress, Submit, SUBMIT_FIELDS } from '../protocol.ts'
import type { Batch, PlainObject } from '../protocol.ts'
import { describe, reportException } from './report.ts'
import { abortRequest, incomingRequest } from './request.ts'
import type { Request } from './request.ts'
import { fireTimer } from './timers.ts'

type Handler = (subject: unknown, env: unknown, context: unknown) => unknown

/** What the module exports: functions of the default export, called with it as `this`. */
const handlers: { subject: unknown; fetch: Handler | null; scheduled: Handler | null } = {
  subject: null,
  fetch: null,
  scheduled: null,
}
let env: unknown

/** Memory of the host's, which it reads at any time. */
let progress: Int32Array = new Int32Array(2)

export function shareProgress(words: Int32Array): void {
  progress = words
}

/** One call of a handler, until its answer has left and its `waitUntil` promises have settled. */
interface EventState {
  id: number
  request: Request | null
  /** The handler, and each promise given to `waitUntil`. */
  pending: number
  incoming: HostBody | null
  /** Bytes of the streamed answer that the host has room for. */
  credit: number
  wake: (() => void) | null
  aborted: boolean
  /** Its answer, or that it has failed, is on its way. */
  answered: boolean
}

const events = objectCreate(null) as { [id: number]: EventState | undefined }

/** The only entry after start. Called by the host, under a budget, with messages in the order they were submitted. */
export function dispatch(batch: Batch): void {
  progress[Progress.begun] = 0
  resetLog(0)
  for (let at = 0; at < batch.length;) {
    const type = batch[at] as number
    try {
      take(type, batch, at)
    } catch (error) {
      survive(type, batch[at + 1] as number, error)
    }
    at += SUBMIT_FIELDS[type]! + 1
  }
}

/** What a tenant has made of the builtins may fail one message: those after it concern others. */
function survive(type: number, id: number, error: unknown): void {
  reportException(error)
  const event = events[id]
  if ((type === Submit.fetch || type === Submit.scheduled) && event !== undefined && !event.answered) failWith(event, error)
}

function take(type: number, batch: Batch, at: number): void {
  const id = batch[at + 1] as number
  switch (type) {
    case Submit.fetch:
      beginFetch(batch, at)
      break
    case Submit.scheduled:
      beginScheduled(id, batch[at + 3] as string, batch[at + 4] as number)
      break
    case Submit.bodyChunk:
      events[id]?.incoming?.push(batch[at + 2] as Uint8Array)
      break
    case Submit.bodyEnd:
      events[id]?.incoming?.end()
      break
    case Submit.bodyFailed:
      events[id]?.incoming?.fail(new TypeError(batch[at + 2] as string))
      break
    case Submit.credit:
      addCredit(events[id], batch[at + 2] as number)
      break
    case Submit.abort:
      abortEvent(events[id], batch[at + 2] as string)
      break
    case Submit.operationDone:
      operationDone(id, batch[at + 2] as PlainObject)
      break
    case Submit.operationFailed:
      operationFailed(id, batch[at + 2] as string, batch[at + 3] as string)
      break
    case Submit.operationChunk:
      operationChunk(id, batch[at + 2] as Uint8Array)
      break
    case Submit.operationEnd:
      operationEnd(id)
      break
    case Submit.operationCredit:
      operationCredit(id, batch[at + 2] as number)
      break
    case Submit.timer:
      fireTimer(id)
      break
  }
}

/** Takes the module's exports; says what is wrong with them, or ''. */
export function setHandlers(exports: unknown, environment: unknown): string {
  env = environment
  const subject = (exports as { default?: unknown } | null | undefined)?.default
  if (subject === undefined) return 'The module has no default export. Write `export default { fetch(request, env, ctx) { … } }`.'
  if ((typeof subject !== 'object' && typeof subject !== 'function') || subject === null) {
    return `The default export is ${subject === null ? 'null' : `a ${typeof subject}`}, not an object with handlers such as fetch.`
  }
  const { fetch, scheduled } = subject as { fetch?: unknown; scheduled?: unknown }
  if (fetch !== undefined && typeof fetch !== 'function')
    return `The default export's fetch is not a function but ${typeof fetch}.`
  if (scheduled !== undefined && typeof scheduled !== 'function')
    return `The default export's scheduled is not a function but ${typeof scheduled}.`
  if (fetch === undefined && scheduled === undefined) return 'The default export has no handler: neither fetch nor scheduled.'
  handlers.subject = subject
  handlers.fetch = (fetch as Handler | undefined) ?? null
  handlers.scheduled = (scheduled as Handler | undefined) ?? null
  return ''
}

export function handlerNames(): string[] {
  const names: string[] = []
  if (handlers.fetch !== null) names[0] = 'fetch'
  if (handlers.scheduled !== null) names[names.length] = 'scheduled'
  return names
}

function begin(id: number, incoming: HostBody | null): EventState {
  const event: EventState = {
    id,
    request: null,
    pending: 1,
    incoming,
    credit: INITIAL_CREDIT,
    wake: null,
    aborted: false,
    answered: false,
  }
  events[id] = event
  eventBegan(id)
  progress[Progress.begun]!++
  return event
}

function beginFetch(batch: Batch, at: number): void {
  const id = batch[at + 1] as number
  const kind = batch[at + 6] as number
  const incoming =
    kind === BodyKind.stream
      ? new HostBody(
          (bytes) => post(Emit.bodyCredit, id, bytes),
          () => post(Emit.bodyCancel, id),
        )
      : null
  const source = kind === BodyKind.whole ? (batch[at + 7] as Uint8Array) : incoming
  const event = begin(id, incoming)
  const request = incomingRequest(batch[at + 3] as string, batch[at + 4] as string, batch[at + 5] as string[], source)
  event.request = request
  if (handlers.fetch === null) {
    fail(event, 'no_response', 'The function has no fetch handler', '')
    return
  }
  runAs(id, () => {
    let result: unknown
    try {
      result = reflectApply(handlers.fetch!, handlers.subject, [request, env, contextOf(event)])
    } catch (error) {
      failWith(event, error)
      return
    }
    if (isResponse(result)) answer(event, result)
    else void settle(event, result)
  })
}

async function settle(event: EventState, result: unknown): Promise<void> {
  try {
    answer(event, await result)
  } catch (error) {
    failWith(event, error)
  }
}

function answer(event: EventState, response: unknown): void {
  if (!isResponse(response)) {
    const what = response === undefined ? 'nothing' : response === null ? 'null' : `a value of type ${typeof response}`
    fail(event, 'no_response', `The fetch handler returned ${what}, not a Response`, '')
    return
  }
  let parts
  let body
  try {
    parts = responseParts(response)
    if (event.aborted) {
      cancelBody(parts.body, new DOMException(CLIENT_GONE, 'AbortError'))
      release(event)
      return
    }
    body = takeBody(parts.body)
  } catch (error) {
    fail(event, 'bad_response', describe(error).message, '')
    return
  }
  if (parts.type === 'error') {
    fail(event, 'bad_response', 'The fetch handler returned Response.error()', '')
    return
  }
  if (body instanceof HostBody || body instanceof ByteReader) {
    event.answered = true
    post(Emit.head, event.id, parts.status, parts.fields)
    void sendBody(event, body)
    return
  }
  event.answered = true
  post(Emit.response, event.id, parts.status, parts.fields, body)
  release(event)
}

const CLIENT_GONE = 'The client went away'

/** Sends a streamed body, as fast as the client takes it. */
async function sendBody(event: EventState, body: HostBody | ByteReader): Promise<void> {
  try {
    for (;;) {
      await room(event)
      const chunk = event.aborted ? null : await body.read()
      if (event.aborted) {
        body.cancel(new DOMException(CLIENT_GONE, 'AbortError'))
        break
      }
      if (chunk === null) {
        post(Emit.end, event.id)
        break
      }
      await sendChunk(event, chunk)
    }
  } catch (error) {
    reportException(error)
    post(Emit.broken, event.id, describe(error).message)
  }
  release(event)
}

/** One chunk of the tenant's may be larger than what the host has room for: it leaves in pieces. */
async function sendChunk(event: EventState, chunk: Uint8Array): Promise<void> {
  const length = typedArrayByteLength(chunk)
  for (let at = 0; at < length && !event.aborted;) {
    await room(event)
    const end = at + event.credit
    const piece = at === 0 && end >= length ? chunk : typedArraySlice(chunk, at, end)
    at += typedArrayByteLength(piece)
    event.credit -= typedArrayByteLength(piece)
    if (!event.aborted) postChunk(Emit.chunk, event.id, piece)
  }
}

/** Waits until the host has room, or no one wants the rest. */
async function room(event: EventState): Promise<void> {
  while (event.credit <= 0 && !event.aborted) {
    await new PromiseConstructor<void>((resolve) => {
      event.wake = resolve
    })
  }
}

function addCredit(event: EventState | undefined, bytes: number): void {
  if (event === undefined) return
  event.credit += bytes
  wake(event)
}

function wake(event: EventState): void {
  const resume = event.wake
  event.wake = null
  resume?.()
}

function abortEvent(event: EventState | undefined, reason: string): void {
  if (event === undefined || event.aborted) return
  event.aborted = true
  const error = new DOMException(reason, 'AbortError')
  event.incoming?.fail(error)
  wake(event)
  runAs(event.id, () => {
    if (event.request !== null) abortRequest(event.request, error)
  })
}

function beginScheduled(id: number, cron: string, scheduledTime: number): void {
  const event = begin(id, null)
  if (handlers.scheduled === null) {
    fail(event, 'no_response', 'The function has no scheduled handler', '')
    return
  }
  runAs(id, () => {
    const controller = { cron, scheduledTime, type: 'scheduled', noRetry() {} }
    void settleScheduled(event, controller)
  })
}

async function settleScheduled(event: EventState, controller: object): Promise<void> {
  try {
    await reflectApply(handlers.scheduled!, handlers.subject, [controller, env, contextOf(event)])
    event.answered = true
    post(Emit.response, event.id, 204, [], null)
    release(event)
  } catch (error) {
    failWith(event, error)
  }
}

/** The third argument of a handler. */
function contextOf(event: EventState): object {
  return new ExecutionContext(event)
}

class ExecutionContext {
  readonly #event: EventState

  constructor(event: EventState) {
    this.#event = event
  }

  /** Keeps the event alive until the promise has settled; a rejection is logged. */
  waitUntil(promise: unknown): void {
    const event = this.#event
    if (event.pending === 0) throw new TypeError('waitUntil: this event has ended')
    event.pending++
    void waitFor(event, promise)
  }

  /** Part of the Workers interface; there is no origin to pass through to. */
  passThroughOnException(): void {}
}
objectDefineProperty(ExecutionContext.prototype, Symbol.toStringTag, { value: 'ExecutionContext', configurable: true })

async function waitFor(event: EventState, promise: unknown): Promise<void> {
  try {
    await promise
  } catch (error) {
    log(event.id, 'error', `Uncaught (in waitUntil) ${describe(error).stack}`)
  }
  release(event)
}

function failWith(event: EventState, error: unknown): void {
  const { message, stack } = describe(error)
  fail(event, 'function_threw', message, stack)
}

function fail(event: EventState, code: string, message: string, stack: string): void {
  event.answered = true
  post(Emit.failed, event.id, code, message, stack)
  release(event)
}

function release(event: EventState): void {
  event.pending--
  if (event.pending > 0) return
  events[event.id] = undefined
  event.incoming?.cancel()
  eventEnded(event.id)
  resetLog(event.id)
  post(Emit.done, event.id)
}
