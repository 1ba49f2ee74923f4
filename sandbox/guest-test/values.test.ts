import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createConsole, formatLog, inspect } from '../guest/console.ts'
import { chachaBlock, createCrypto, createRandom, newChachaState } from '../guest/random.ts'
import { structuredClone as guestClone } from '../guest/structured-clone.ts'

test('the block function gives the vectors of RFC 8439', () => {
  // 2.3.2: key 00 … 1f, counter 1, nonce 00:00:00:09:00:00:00:4a:00:00:00:00.
  const state = newChachaState()
  const key = new Uint32Array(new Uint8Array(32).map((_, i) => i).buffer)
  state.set(key, 4)
  state.set([1, 0x09000000, 0x4a000000, 0], 12)
  const out = new Uint32Array(16)
  chachaBlock(state, out)
  // prettier-ignore
  assert.deepEqual([...out], [
    0xe4e7f110, 0x15593bd1, 0x1fdd0f50, 0xc47120a3, 0xc7f4d1c7, 0x0368c033, 0x9aaa2204, 0x4e6cd4c3,
    0x466482d2, 0x09aa9f07, 0x05d7c214, 0xa2028bd9, 0xd19c12b5, 0xb94e16de, 0xe883d0cb, 0x4e3c50a2,
  ])
  // A.1, vector 1: all zero.
  const zero = newChachaState()
  chachaBlock(zero, out)
  assert.equal(Buffer.from(out.buffer).toString('hex').slice(0, 32), '76b8e0ada0f13d90405d6ae55386bd28')
})

test('the generator: first bytes after the next key, reproducible, seed wiped', () => {
  const seed = new Uint8Array(32)
  const bytes = new Uint8Array(1000)
  createRandom(seed).fill(bytes)
  // Bytes 32 to 63 of the all-zero block.
  assert.equal(Buffer.from(bytes.subarray(0, 16)).toString('hex'), 'da41597c5157488d7724e03fb8d84a37')
  const parts = new Uint8Array(1000)
  const random = createRandom(new Uint8Array(32))
  for (let i = 0; i < 1000; i += 50) random.fill(parts.subarray(i, i + 50))
  assert.deepEqual(parts, bytes)
  const used = new Uint8Array(32).fill(9)
  createRandom(used)
  assert.ok(used.every((byte) => byte === 0))
})

test('getRandomValues checks its argument', () => {
  const crypto = createCrypto(() => createRandom(new Uint8Array(32).fill(1)))
  assert.throws(() => crypto.getRandomValues(new Float64Array(1)), { name: 'TypeMismatchError' })
  assert.throws(() => crypto.getRandomValues(new Uint8Array(65537)), { name: 'QuotaExceededError' })
  assert.throws(() => crypto.getRandomValues([] as never), TypeError)
  assert.notEqual(crypto.getRandomValues(new BigInt64Array(1))[0], 0n)
  assert.match(crypto.randomUUID(), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
})

test('structuredClone copies as Node does', () => {
  const value: Record<string, unknown> = {
    list: [1, , 'a'], // oxlint-disable-line no-sparse-arrays
    map: new Map<unknown, unknown>([[{ a: 1 }, new Set([1])]]),
    date: new Date(5),
    expression: /a/gi,
    error: new RangeError('x', { cause: new Error('y') }),
    view: new Uint8Array([1, 2, 3]).subarray(1),
    data: new DataView(new ArrayBuffer(4), 1, 2),
    boxed: [Object(1n), Object('s'), Object(1), Object(false)],
    big: 10n,
    nothing: null,
  }
  value.self = value
  const copy = guestClone(value) as typeof value
  assert.deepEqual(copy, structuredClone(value))
  assert.equal(copy.self, copy)
})

test('structuredClone moves buffers, and only if everything can be copied', () => {
  const buffer = new ArrayBuffer(8)
  const view = new Uint8Array(buffer, 2, 3)
  view[0] = 9
  assert.throws(() => guestClone([view, () => 0], { transfer: [buffer] }), { name: 'DataCloneError' })
  assert.equal(buffer.detached, false)
  const copy = guestClone({ view, buffer }, { transfer: [buffer] }) as { view: Uint8Array; buffer: ArrayBuffer }
  assert.ok(buffer.detached)
  assert.equal(copy.view.buffer, copy.buffer)
  assert.deepEqual([...copy.view], [9, 0, 0])
  assert.throws(() => guestClone(buffer), { name: 'DataCloneError' })
  for (const value of [Symbol('x'), () => 0, new WeakMap(), Promise.resolve()])
    assert.throws(() => guestClone(value), { name: 'DataCloneError' })
})

test('inspect shows data, calls no getter, survives proxies, and is bounded', () => {
  const refuse = (): never => {
    throw new Error('called')
  }
  const hostile = Object.defineProperty({ toString: refuse, toJSON: refuse }, 'bait', { get: refuse, enumerable: true })
  assert.match(inspect(hostile), /bait: \[Getter\]/)
  assert.equal(inspect(new Proxy({}, { ownKeys: refuse })), '[object that cannot be shown]')
  assert.equal(inspect({ a: [1, 'x\n'], b: new Map([[1, { c: -0 }]]) }), "{ a: [ 1, 'x\\n' ], b: Map(1) { 1 => { c: -0 } } }")
  const circular: Record<string, unknown> = {}
  circular.me = circular
  assert.equal(inspect(circular), '{ me: [Circular] }')
  assert.match(inspect(new TypeError('bad', { cause: 'why' })), /^TypeError: bad\n[^]*\[cause\]: 'why'/)
  assert.ok(inspect(Array.from({ length: 1e5 }, () => 'x'.repeat(1000))).length < 40_000)
  assert.ok(formatLog(['x'.repeat(1e6)]).length < 70_000)
  assert.equal(formatLog(['%s %d %i %j %% %c%s', 'a', '4.5', '4.5', { b: 1 }, 'css']), 'a 4.5 4 {"b":1} % %s')
})

test('the console writes levels, groups, counts and times', () => {
  const lines: string[] = []
  let now = 0
  const console = createConsole(
    (level, text) => void lines.push(`${level} ${text}`),
    () => now,
  )
  console.group!('g')
  console.warn!('a\nb')
  console.groupEnd!()
  console.count!()
  console.time!('t')
  now = 7
  console.timeEnd!('t')
  console.assert!(true)
  console.assert!(false, 'no')
  console.table!([{ a: 1 }])
  assert.deepEqual(lines.slice(0, 5), ['info g', 'warn   a\n  b', 'info default: 1', 'info t: 7ms', 'error Assertion failed: no'])
  assert.match(lines[5]!, /│ 0 +│ 1 │/)
})
