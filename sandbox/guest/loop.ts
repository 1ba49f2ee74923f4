import { addCredit, answer, wake } from './answer.ts'
import { runAs } from './current.ts'
import { DOMException } from './dom-exception.ts'
import { batchBegan, begin, contextOf, events, fail, failWith, release } from './event.ts'
import type { EventState } from './event.ts'
import { HostBody } from './host-body.ts'
import { operationChunk, operationCredit, operationDone, operationEnd, operationFailed } from './operations.ts'
import { resetLog } from './log.ts'
import { post } from './outbox.ts'
import { reflectApply } from './primordials.ts'
import { BodyKind, Emit, Submit, SUBMIT_FIELDS } from '../protocol.ts'
import type { Batch, PlainObject } from '../protocol.ts'
import { reportException } from './report.ts'
import { abortRequest, incomingRequest } from './request.ts'
import { isResponse } from './response.ts'
import { fireTimer } from './timers.ts'

type Handler = (subject: unknown, env: unknown, context: unknown) => unknown

/** What the module exports: functions of the default export, called with it as `this`. */
const handlers: { subject: unknown; fetch: Handler | null; scheduled: Handler | null } = {
  subject: null,
  fetch: null,
  scheduled: null,
}
let env: unknown

/** The only entry after start. Called by the host, under a budget, with messages in the order they were submitted. */
export function dispatch(batch: Batch): void {
  batchBegan()
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
