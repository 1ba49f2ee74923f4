import { arrayPush } from './primordials.ts'
import type { Batch, Field } from '../protocol.ts'

/**
 * What leaves the isolate. Messages of one run of microtasks leave together: the first of them schedules the flush two
 * microtasks on, by when the batch-mates that answer at once have added theirs; slower ones get a flush of their own.
 */
let send: (batch: Batch) => void = () => {}
let outbox: Batch = []
let scheduled = false

export function connectOutbox(emit: (batch: Batch) => void): void {
  send = emit
}

export function post(...fields: Field[]): void {
  arrayPush(outbox, ...fields)
  if (scheduled) return
  scheduled = true
  void flushSoon()
}

async function flushSoon(): Promise<void> {
  await undefined
  await undefined
  scheduled = false
  const batch = outbox
  outbox = []
  send(batch)
}
