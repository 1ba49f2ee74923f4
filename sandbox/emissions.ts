import { EMIT_FIELDS, Emit } from './protocol.ts'
import type { Batch } from './protocol.ts'

/** What each field of each message must be. The guest's side may be in the tenant's hands: nothing else is believed. */
type Kind = 'id' | 'number' | 'string' | 'strings' | 'bytes' | 'body' | 'chunk' | 'plain'

const SHAPES: readonly (readonly Kind[])[] = [
  [],
  ['id', 'number', 'strings', 'body'],
  ['id', 'number', 'strings'],
  ['id', 'chunk'],
  ['id'],
  ['id', 'string'],
  ['id', 'string', 'string', 'string'],
  ['id', 'number'],
  ['id'],
  ['id'],
  ['id', 'string', 'string'],
  ['id', 'id', 'string', 'plain'],
  ['id', 'bytes'],
  ['id'],
  ['id', 'number'],
  ['id'],
  ['id', 'number'],
  ['id'],
  ['string', 'string', 'strings'],
]

/** What goes to the host's side of the events; the others concern operations, timers and the start. */
const LAST_EVENT_MESSAGE = Emit.log

/** Why this is no batch of messages; '' when it is one. */
export function checkBatch(batch: unknown): string {
  if (!Array.isArray(batch)) return 'a batch is not an array'
  for (let at = 0; at < batch.length;) {
    const type: unknown = batch[at]
    // Asked before it is used as an index: an object's own `toString`, which may be anything, would be asked for its name.
    const shape = typeof type === 'number' ? SHAPES[type] : undefined
    if (shape === undefined || shape.length === 0) return 'a message of an unknown type'
    for (let i = 0; i < shape.length; i++)
      if (!fits(shape[i]!, batch[at + 1 + i])) return `message ${String(type)}: field ${i + 1} is wrong`
    at += shape.length + 1
    if (at > batch.length) return `message ${String(type)} is cut off`
  }
  return ''
}

/** Splits a checked batch: messages about events keep their order in one batch, each other message is handed over by itself. */
export function sortOut(batch: Batch, other: (batch: Batch, at: number) => void): Batch {
  let events: Batch = batch
  for (let at = 0; at < batch.length;) {
    const type = batch[at] as number
    const next = at + EMIT_FIELDS[type]! + 1
    if (type > LAST_EVENT_MESSAGE) {
      if (events === batch) events = batch.slice(0, at)
      other(batch, at)
    } else if (events !== batch) {
      for (let i = at; i < next; i++) events.push(batch[i]!)
    }
    at = next
  }
  return events
}

function fits(kind: Kind, value: unknown): boolean {
  switch (kind) {
    case 'id':
      return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
    case 'number':
      return typeof value === 'number' && value >= 0 && value !== Infinity
    case 'string':
      return typeof value === 'string'
    case 'strings':
      return isStrings(value)
    case 'bytes':
      return value instanceof Uint8Array
    case 'chunk':
      return typeof value === 'string' || value instanceof Uint8Array
    case 'body':
      return value === null || typeof value === 'string' || value instanceof Uint8Array
    case 'plain':
      return typeof value === 'object' && value !== null
  }
}

function isStrings(value: unknown): boolean {
  if (!Array.isArray(value)) return false
  for (let i = 0; i < value.length; i++) if (typeof value[i] !== 'string') return false
  return true
}
