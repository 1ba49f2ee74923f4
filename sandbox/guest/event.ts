import { eventBegan, eventEnded } from './current.ts'
import type { HostBody } from './host-body.ts'
import { log, resetLog } from './log.ts'
import { post } from './outbox.ts'
import { objectCreate, objectDefineProperty } from './primordials.ts'
import { Emit, INITIAL_CREDIT, Progress } from '../protocol.ts'
import { describe } from './report.ts'
import type { Request } from './request.ts'

/** Memory of the host's, which it reads at any time. */
let progress: Int32Array = new Int32Array(2)

export function shareProgress(words: Int32Array): void {
  progress = words
}

/** The host has entered with a batch. */
export function batchBegan(): void {
  progress[Progress.begun] = 0
}

/** One call of a handler, until its answer has left and its `waitUntil` promises have settled. */
export interface EventState {
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

export const events = objectCreate(null) as { [id: number]: EventState | undefined }

export function begin(id: number, incoming: HostBody | null): EventState {
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

export function failWith(event: EventState, error: unknown): void {
  const { message, stack } = describe(error)
  fail(event, 'function_threw', message, stack)
}

export function fail(event: EventState, code: string, message: string, stack: string): void {
  event.answered = true
  post(Emit.failed, event.id, code, message, stack)
  release(event)
}

export function release(event: EventState): void {
  event.pending--
  if (event.pending > 0) return
  events[event.id] = undefined
  event.incoming?.cancel()
  eventEnded(event.id)
  resetLog(event.id)
  post(Emit.done, event.id)
}

/** The third argument of a handler. */
export function contextOf(event: EventState): object {
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
