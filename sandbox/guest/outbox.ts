import { objectSetPrototypeOf } from './primordials.ts'
import type { Batch, Field } from '../protocol.ts'

/**
 * What leaves the isolate. Messages of one run of microtasks leave together: the first of them schedules the flush two
 * microtasks on, by when the batch-mates that answer at once have added theirs; slower ones get a flush of their own.
 */
let send: (batch: Batch) => void = () => {}
let outbox = emptyBatch()
let size = 0

export function connectOutbox(emit: (batch: Batch) => void): void {
  send = emit
}

/** No rest parameter and no `push`: this runs several times an event. */
export function post(type: number, first: Field, second?: Field, third?: Field, fourth?: Field): void {
  if (size === 0) void flushSoon()
  outbox[size++] = type
  outbox[size++] = first
  if (second === undefined) return
  outbox[size++] = second
  if (third === undefined) return
  outbox[size++] = third
  if (fourth !== undefined) outbox[size++] = fourth
}

async function flushSoon(): Promise<void> {
  await undefined
  await undefined
  flush()
}

/** Also called by the host, once it has stopped a run that had something to say. */
export function flush(): void {
  if (size === 0) return
  const batch = outbox
  outbox = emptyBatch()
  size = 0
  send(batch)
}

/** An array without a prototype: a setter that the tenant puts on `Array.prototype[0]` would take what is stored. */
function emptyBatch(): Batch {
  return objectSetPrototypeOf([], null) as Batch
}
