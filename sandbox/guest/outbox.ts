import { arrayBufferFree, objectSetPrototypeOf, typedArrayBuffer } from './primordials.ts'
import { Emit, EMIT_FIELDS } from '../protocol.ts'
import type { Batch, Field } from '../protocol.ts'

/**
 * What leaves the isolate. Messages of one run of microtasks leave together: the first of them schedules the flush two
 * microtasks on, by when the batch-mates that answer at once have added theirs; slower ones get a flush of their own.
 */
let send: (batch: Batch) => void = () => {}
let outbox = emptyBatch()
let size = 0
/** The messages hold chunks of bodies. */
let chunks = false
/** Length of the request bodies that the messages hold whole. */
let whole = 0

/** What leaves at once is copied at once: many requests with the same large body would be as many copies of it. */
const MOST_WHOLE = 8_388_608

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

/** A chunk of a body. The bytes are the outbox's own: nobody else has them, and they are gone once they have left. */
export function postChunk(type: typeof Emit.chunk | typeof Emit.operationChunk, id: number, bytes: Uint8Array): void {
  chunks = true
  post(type, id, bytes)
}

/** Whether a body of this length may go with its message; a later one has to go in chunks. */
export function takesWhole(length: number): boolean {
  if (whole + length > MOST_WHOLE) return false
  whole += length
  return true
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
  whole = 0
  send(batch)
  if (chunks) freeChunks(batch)
}

/**
 * Sending has copied them. Memory that is given back at once is taken again for the next chunk while it is warm: without
 * this a stream costs twice the CPU time, and leaves its chunks to a collection that V8 sees no reason for.
 */
function freeChunks(batch: Batch): void {
  chunks = false
  for (let at = 0; at < batch.length; at += EMIT_FIELDS[batch[at] as number]! + 1) {
    const type = batch[at]
    if (type !== Emit.chunk && type !== Emit.operationChunk) continue
    const chunk = batch[at + 2]
    if (typeof chunk !== 'string') arrayBufferFree(typedArrayBuffer(chunk))
  }
}

/** An array without a prototype: a setter that the tenant puts on `Array.prototype[0]` would take what is stored. */
function emptyBatch(): Batch {
  return objectSetPrototypeOf([], null) as Batch
}
