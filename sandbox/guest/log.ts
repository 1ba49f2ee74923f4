import { Emit } from '../protocol.ts'
import { objectCreate } from './primordials.ts'
import { post } from './outbox.ts'

/** What a line costs beside its text, so that empty lines end as well. */
const LINE = 16

let limit = Infinity
/** Characters of log by event; event 0 stands for those whose event is not known, counted per entry. */
const written = objectCreate(null) as { [event: number]: number }

export function setLogLimit(bytes: number): void {
  limit = bytes
}

/** A line of the function's log. Past the limit one line says so, and the rest is dropped here: it costs the host nothing. */
export function log(event: number, level: string, text: string): void {
  const before = written[event] ?? 0
  if (before > limit) return
  const after = before + text.length + LINE
  written[event] = after
  if (after <= limit) post(Emit.log, event, level, text)
  else post(Emit.log, event, 'warn', `The log of this event is longer than ${limit} bytes; the rest of it is dropped.`)
}

/** The event has ended, or (0) a new entry begins. */
export function resetLog(event: number): void {
  if (written[event] !== undefined) written[event] = 0
}
