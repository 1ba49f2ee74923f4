import { Emit } from '../sandbox/protocol.ts'
import type { Batch } from '../sandbox/protocol.ts'
import type { Call } from './call.ts'
import type { ErrorCode } from './errors.ts'

/** What a message of the guest may lead to, beside what it does to the call's own exchange. */
export interface Delivery {
  /** The event is not run any further. */
  giveUp(call: Call, code: ErrorCode, message: string): void
  /** The guest is told that nobody wants the rest. */
  abort(call: Call, reason: string): void
  log(event: number, level: string, text: string): void
}

/** Takes a message about a live event to the exchange of its call. The guest may be in hostile hands: nothing of it is believed. */
export function deliver(call: Call, batch: Batch, at: number, to: Delivery): void {
  switch (batch[at]) {
    case Emit.response:
    case Emit.head:
      answer(call, batch, at, to)
      break
    case Emit.chunk:
      if (!call.write(batch[at + 2] as string | Uint8Array))
        to.giveUp(call, 'bad_response', 'It wrote on without being given room')
      break
    case Emit.end:
      call.end()
      break
    case Emit.broken:
      call.fail('function_threw')
      break
    case Emit.failed:
      if (call.phase !== 'running' && call.phase !== 'answering') break
      to.log(call.event, 'error', (batch[at + 4] as string) || (batch[at + 3] as string))
      call.fail(failureCode(batch[at + 2] as string))
      break
    case Emit.bodyCredit:
      giveCredit(call, batch[at + 2] as number)
      break
    case Emit.bodyCancel:
      call.exchange.discardBody()
      break
  }
}

function answer(call: Call, batch: Batch, at: number, to: Delivery): void {
  if (call.phase !== 'running') return
  const status = batch[at + 2] as number
  const headers = batch[at + 3] as string[]
  try {
    if (batch[at] === Emit.head) start(call, status, headers, to)
    else call.respond(status, headers, batch[at + 4] as string | Uint8Array | null)
  } catch (error) {
    to.log(call.event, 'error', `bad_response: ${(error as Error).message}`)
    call.fail('bad_response')
  }
}

function start(call: Call, status: number, headers: string[], to: Delivery): void {
  call.start(status, headers)
  if (call.exchange.method !== 'HEAD' && status !== 204 && status !== 205 && status !== 304) return
  // Nobody reads this body, and it may have no end.
  call.end()
  to.abort(call, 'The answer has no body')
}

/** A guest in hostile hands could ask for a whole body at once, and for more than there is. */
function giveCredit(call: Call, bytes: number): void {
  const room = Math.min(bytes, call.bodyTaken)
  if (!(room > 0)) return
  call.bodyTaken -= room
  call.exchange.grant(room)
}

function failureCode(code: string): ErrorCode {
  return code === 'no_response' || code === 'bad_response' ? code : 'function_threw'
}
