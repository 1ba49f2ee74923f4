import { objectSetPrototypeOf } from './primordials.ts'
import type { Batch, Field } from '../protocol.ts'

/**
 * What leaves the isolate. Messages of one run of microtasks leave together: the first of them schedules the flush two
 * microtasks on, by when the batch-mates that answer at once have added theirs; slower ones get a flush of their own.
 *
 * The host reads this object as well, after it has stopped a run: `begun` is how far the batch at hand had got (events
 * whose handler had been called), and `outbox` holds the answers that had not left yet.
 */
export const progress = { begun: 0, outbox: emptyBatch() }
let send: (batch: Batch) => void = () => {}
let size = 0

export function connectOutbox(emit: (batch: Batch) => void): void {
  send = emit
}

/** No rest parameter and no `push`: this runs several times an event. */
export function post(type: number, first: Field, second?: Field, third?: Field, fourth?: Field): void {
  const { outbox } = progress
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
  const batch = progress.outbox
  progress.outbox = emptyBatch()
  size = 0
  send(batch)
}

/** An array without a prototype: a setter that the tenant puts on `Array.prototype[0]` would take what is stored. */
function emptyBatch(): Batch {
  return objectSetPrototypeOf([], null) as Batch
}
