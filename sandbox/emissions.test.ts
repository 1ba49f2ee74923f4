import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { checkBatch, sortOut } from './emissions.ts'
import { EMIT_FIELDS, Emit } from './protocol.ts'
import type { Batch } from './protocol.ts'

const id = fc.nat()
const text = fc.string()
const bytes = fc.uint8Array({ maxLength: 8 })
const texts = fc.array(text, { maxLength: 4 })
const plain = fc.dictionary(text, fc.oneof(text, id, bytes), { maxKeys: 3 })
const body = fc.oneof(fc.constant(null), text, bytes)
/** Each type's fields, from protocol.ts and not from the checker's table. */
const messages = {
  [Emit.response]: fc.tuple(id, id, texts, body),
  [Emit.head]: fc.tuple(id, id, texts),
  [Emit.chunk]: fc.tuple(id, fc.oneof(fc.string(), bytes)),
  [Emit.end]: fc.tuple(id),
  [Emit.broken]: fc.tuple(id, text),
  [Emit.failed]: fc.tuple(id, text, text, text),
  [Emit.bodyCredit]: fc.tuple(id, id),
  [Emit.bodyCancel]: fc.tuple(id),
  [Emit.done]: fc.tuple(id),
  [Emit.log]: fc.tuple(id, text, text),
  [Emit.operation]: fc.tuple(id, id, text, plain),
  [Emit.operationChunk]: fc.tuple(id, bytes),
  [Emit.operationEnd]: fc.tuple(id),
  [Emit.operationCredit]: fc.tuple(id, id),
  [Emit.operationCancel]: fc.tuple(id),
  [Emit.timer]: fc.tuple(id, id),
  [Emit.timerCancel]: fc.tuple(id),
  [Emit.started]: fc.tuple(text, text, texts),
}
const message = fc.oneof(
  ...Object.entries(messages).map(([type, fields]) => (fields as fc.Arbitrary<unknown[]>).map((list) => [Number(type), ...list])),
)
const batch = fc.array(message, { maxLength: 8 }).map((list) => list.flat(1)) as fc.Arbitrary<Batch>
/** What structured cloning can bring out of an isolate, and is no field of any message. */
const foreign = fc.oneof(
  fc.constantFrom<unknown>(
    undefined,
    NaN,
    Infinity,
    -1,
    true,
    1n,
    {},
    [1],
    [undefined],
    new Map(),
    new Date(),
    /x/,
    new ArrayBuffer(3),
    new Uint16Array(2),
    Object.create(null),
    new Error('x'),
  ),
  fc.array(fc.anything(), { maxLength: 3 }),
)

test('every message of the protocol is accepted, and all messages are sorted to one side or the other in order', () => {
  fc.assert(
    fc.property(batch, (emitted) => {
      assert.equal(checkBatch(emitted), '')
      const others: number[] = []
      const events = sortOut(emitted, (_, at) => others.push(at))
      assert.equal(checkBatch(events), '')
      const expected: Batch = []
      for (let at = 0; at < emitted.length; at += EMIT_FIELDS[emitted[at] as number]! + 1) {
        if ((emitted[at] as number) <= Emit.log) expected.push(...emitted.slice(at, at + EMIT_FIELDS[emitted[at] as number]! + 1))
        else assert.equal(others.shift(), at)
      }
      assert.deepEqual(events, expected)
      assert.equal(others.length, 0)
    }),
    { numRuns: 500 },
  )
})

test('a batch that is cut off anywhere inside a message is refused', () => {
  fc.assert(
    fc.property(batch, fc.nat(), (emitted, cut) => {
      const length = emitted.length === 0 ? 0 : cut % emitted.length
      const starts = new Set<number>()
      for (let at = 0; at < emitted.length; at += EMIT_FIELDS[emitted[at] as number]! + 1) starts.add(at)
      assert.equal(checkBatch(emitted.slice(0, length)) === '', starts.has(length) || length === 0)
    }),
  )
})

test('one wrong field is enough, and nothing makes the checker throw', () => {
  const wrong: Record<string, (value: unknown) => boolean> = {
    id: (value) => Number.isSafeInteger(value) && (value as number) >= 0,
    string: (value) => typeof value === 'string',
    strings: (value) => Array.isArray(value) && value.every((item) => typeof item === 'string'),
    bytes: (value) => value instanceof Uint8Array,
    chunk: (value) => typeof value === 'string' || value instanceof Uint8Array,
    body: (value) => value === null || typeof value === 'string' || value instanceof Uint8Array,
  }
  const shapes: [number, string[]][] = [
    [Emit.response, ['id', 'id', 'strings', 'body']],
    [Emit.chunk, ['id', 'chunk']],
    [Emit.failed, ['id', 'string', 'string', 'string']],
    [Emit.timer, ['id', 'id']],
    [Emit.operationChunk, ['id', 'bytes']],
    [Emit.started, ['string', 'string', 'strings']],
  ]
  const good: Record<string, unknown> = { id: 1, string: 's', strings: ['a'], bytes: new Uint8Array(1), chunk: '', body: null }
  fc.assert(
    fc.property(fc.constantFrom(...shapes), fc.nat(), foreign, ([type, kinds], at, value) => {
      const field = at % kinds.length
      fc.pre(!wrong[kinds[field]!]!(value))
      const fields = kinds.map((kind, i) => (i === field ? value : good[kind]))
      assert.notEqual(checkBatch([type, ...fields]), '')
    }),
    { numRuns: 1000 },
  )
  fc.assert(fc.property(fc.anything(), (value) => void checkBatch(value)))
  fc.assert(fc.property(fc.array(fc.oneof(fc.nat(20), fc.anything())), (value) => void checkBatch(value)))
  for (const value of [
    null,
    undefined,
    'x',
    { length: 3 },
    [0],
    [19],
    [-1],
    [1.5],
    ['1'],
    [NaN],
    new Array(1),
    [[]],
    [Emit.done],
  ])
    assert.notEqual(checkBatch(value), '')
})

test('what stands where a type should is not asked for its name', () => {
  for (const type of [
    { toString: null, valueOf: 5 },
    Object.create(null),
    Object.assign([], { length: 2 ** 32 - 1 }),
    ['1'],
    '1',
    1n,
  ])
    // prettier-ignore
    assert.equal(checkBatch([type, 1, 200, [], null]), 'a message of an unknown type')
})
