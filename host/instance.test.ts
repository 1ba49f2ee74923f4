import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BodyKind, Emit } from '../sandbox/protocol.ts'
import type { Batch } from '../sandbox/protocol.ts'
import { turn } from './test-support/clock.ts'
import { openPool, version } from './test-support/pool.ts'

test('one event goes in first; then as many at once as their cost allows', async () => {
  const { factory, createCall, pool } = openPool({ limits: { concurrency: 1_000 } })
  const start = () => pool.run(version('a'), createCall().call)
  for (let i = 0; i < 300; i++) start()
  await turn()
  assert.equal(factory.last.events.length, 1)
  factory.last.settle({ cpuMs: 0.1 })
  assert.equal(factory.last.events.length, 1 + 40)
  factory.last.settle({ cpuMs: 400 })
  assert.equal(factory.last.events.length, 1 + 40 + 1)
})

test('events beyond the concurrency wait, and beyond as many again are overloaded', async () => {
  const { factory, createCall, pool } = openPool({ limits: { concurrency: 2 } })
  const calls = Array.from({ length: 5 }, () => createCall())
  for (const { call } of calls) pool.run(version('a'), call)
  await turn()
  assert.deepEqual(calls[4]!.exchange.calls, ['respond overloaded'])
  assert.ok(calls[4]!.exchange.answerHeaders.includes('retry-after'))
  for (let i = 0; i < 3; i++) factory.last.settle({ cpuMs: 0.1 })
  assert.equal(factory.last.events.length, 2)
  for (let i = 0; i < 4; i++) {
    const [, event] = [i, factory.last.events[i]!]
    factory.last.answer(event)
    await turn()
    factory.last.settle({ cpuMs: 0.1 })
  }
  for (const { exchange } of calls.slice(0, 4)) assert.deepEqual(exchange.calls, ['respond 200 ok'])
  assert.equal(pool.stats().inFlight, 0)
})

test('a limit of less than one event is one event', async () => {
  const { factory, run } = openPool({ limits: { concurrency: 0.5 } })
  const { exchange } = await run()
  factory.last.answer(1)
  factory.last.settle()
  await turn()
  assert.equal(factory.last.events.length, 1)
  assert.deepEqual(exchange.calls, ['respond 200 ok'])
})

test('an event that takes too long is told so and answered, and its slot is free', async () => {
  const { clock, factory, run, seen, pool } = openPool({ limits: { wallMs: 1_000 } })
  const { exchange } = await run()
  await clock.pass(600)
  const later = await run()
  factory.last.settle()
  await clock.pass(400)
  assert.deepEqual(exchange.calls, ['respond timeout'])
  assert.deepEqual(factory.last.messages('abort').map(([event]) => event), [1]) // prettier-ignore
  assert.ok(seen.includes('log error timeout: The event took longer than 1000 ms'))
  assert.deepEqual(later.exchange.calls, [])
  assert.equal(pool.stats().inFlight, 1)
  await clock.pass(600)
  assert.deepEqual(later.exchange.calls, ['respond timeout'])
  assert.equal(pool.stats().inFlight, 0)
})

test('the number of an abandoned event is not used again before the guest lets go of it', async () => {
  const { clock, factory, run } = openPool({ limits: { wallMs: 1_000 } })
  await run()
  factory.last.settle()
  await clock.pass(1_000)
  const { exchange } = await run()
  assert.deepEqual(factory.last.events, [1, 2])
  factory.last.answer(1)
  assert.deepEqual(exchange.calls, [])
  factory.last.settle()
  await run()
  assert.deepEqual(factory.last.events, [1, 2, 1])
})

test('a guest that lets go of nothing is replaced', async () => {
  const { clock, factory, run, pool } = openPool({ limits: { wallMs: 1_000, concurrency: 2 } })
  for (let i = 0; i < 3; i++) {
    await run()
    factory.last.settle()
    await clock.pass(1_000)
  }
  assert.ok(factory.last.isDisposed)
  assert.deepEqual(pool.stats(), { ready: 0, loading: 0, draining: 0, memoryBytes: 0, inFlight: 0 })
})

test('what waits past the answer keeps the slot until it is done, or until its time is up', async () => {
  const { clock, factory, run, pool } = openPool({ limits: { wallMs: 1_000 } })
  const { exchange } = await run()
  factory.last.emit(Emit.response, 1, 200, [], 'ok')
  assert.equal(pool.stats().inFlight, 1)
  factory.last.settle()
  await clock.pass(1_000)
  assert.deepEqual(exchange.calls, ['respond 200 ok'])
  assert.equal(pool.stats().inFlight, 0)
})

test('a client that goes away: while it loads, in the queue, in the guest, and while it is answered', async () => {
  const { factory, run, createCall, pool, finished } = openPool()
  factory.isEager = false
  const loading = await run()
  loading.exchange.observer.aborted()
  factory.last.start()
  await turn()
  assert.equal(factory.last.events.length, 0)

  const running = await run()
  const queued = createCall()
  pool.run(version('a'), queued.call)
  queued.exchange.observer.aborted()
  running.exchange.observer.aborted()
  assert.deepEqual(factory.last.messages('abort').map(([event]) => event), [1]) // prettier-ignore
  factory.last.answer(1)
  factory.last.settle()
  await turn()
  assert.equal(factory.last.events.length, 1)

  const answering = await run()
  factory.last.emit(Emit.head, 1, 200, [])
  answering.exchange.observer.aborted()
  factory.last.emit(Emit.chunk, 1, Buffer.from('late'), Emit.end, 1, Emit.done, 1)
  assert.deepEqual(answering.exchange.calls, ['start 200'])
  for (const { exchange } of [loading, running, queued]) assert.deepEqual(exchange.calls, [])
  assert.equal(finished.length, 4)
  assert.ok(finished.every((call) => call.phase === 'gone'))
  assert.equal(pool.stats().inFlight, 0)
})

test('a short body goes in with its event; one that breaks off is a bad request', async () => {
  const { factory, pool, createCall } = openPool()
  const whole = createCall(6)
  whole.call.gather(() => pool.run(version('a'), whole.call))
  assert.equal(whole.exchange.granted, 6)
  whole.call.bodyChunk(Buffer.from('abc'), false)
  await turn()
  assert.equal(factory.made.length, 0)
  whole.call.bodyChunk(Buffer.from('def'), true)
  await turn()
  const [[, , , , , kind, body]] = factory.last.messages('fetch') as [Batch]
  assert.deepEqual([kind, Buffer.from(body as Uint8Array).toString()], [BodyKind.whole, 'abcdef'])

  const never = () => assert.fail('it was run')
  const broken = createCall(6)
  broken.call.gather(never)
  broken.call.bodyChunk(Buffer.from('abc'), false)
  broken.call.bodyFailed('reset')
  const short = createCall(6)
  short.call.gather(never)
  short.call.bodyChunk(Buffer.from('abc'), true)
  const long = createCall(6)
  long.call.gather(never)
  long.call.bodyChunk(Buffer.from('abcdefg'), false)
  for (const { exchange } of [broken, short, long]) assert.deepEqual(exchange.calls, ['respond bad_request'])
  const gone = createCall(6)
  gone.call.gather(never)
  gone.call.aborted()
  gone.call.bodyChunk(Buffer.from('abcdef'), true)
  assert.deepEqual(gone.exchange.calls, [])
})

test('a long body streams within the room that the guest gives, and no guest gives more than it took', async () => {
  const { factory, run } = openPool()
  const { exchange, call } = await run('a', -1)
  assert.equal(factory.last.messages('fetch')[0]![5], BodyKind.stream)
  assert.equal(exchange.granted, 262_144)
  call.bodyChunk(new Uint8Array(1_000), false)
  factory.last.emit(Emit.bodyCredit, 1, Infinity)
  factory.last.emit(Emit.bodyCredit, 1, 1e9)
  assert.equal(exchange.granted, 262_144 + 1_000)
  call.bodyChunk(new Uint8Array(0), true)
  assert.deepEqual(factory.last.got.map(([name]) => name), ['fetch', 'bodyChunk', 'bodyEnd']) // prettier-ignore
  factory.last.emit(Emit.bodyCancel, 1)
  assert.ok(exchange.isDiscarded)
})

test('a streamed body that grows too large is refused, and its slot is free', async () => {
  const { factory, run, pool } = openPool({ limits: { bodyBytes: 1_000 } })
  const { exchange, call } = await run('a', -1)
  call.bodyChunk(new Uint8Array(1_000), false)
  assert.deepEqual(exchange.calls, [])
  call.bodyChunk(new Uint8Array(1), false)
  assert.deepEqual(exchange.calls, ['respond body_too_large'])
  assert.equal(factory.last.messages('abort').length, 1)
  assert.equal(pool.stats().inFlight, 0)
})

test('a streamed body follows its event to a fresh isolate, whole', async () => {
  const { factory, run } = openPool()
  const { exchange, call } = await run('a', -1)
  call.bodyChunk(Buffer.from('one'), false)
  factory.isEager = false
  factory.last.end('cpu_exceeded', [1])
  await turn()
  call.bodyChunk(Buffer.from('two'), false)
  factory.last.start()
  await turn()
  call.bodyChunk(Buffer.from('three'), true)
  const body = factory.last.messages('bodyChunk').map(([, bytes]) => Buffer.from(bytes as Uint8Array).toString())
  assert.deepEqual(body, ['one', 'two', 'three'])
  assert.equal(factory.last.messages('bodyEnd').length, 1)
  assert.equal(exchange.granted, 262_144)
  factory.last.answer(1)
  assert.deepEqual(exchange.calls, ['respond 200 ok'])
})

test('a body that breaks off while its event is moved is a bad request, and nothing runs', async () => {
  const { factory, run } = openPool()
  const { exchange, call } = await run('a', -1)
  factory.isEager = false
  factory.last.end('cpu_exceeded', [1])
  await turn()
  call.bodyFailed('reset')
  factory.last.start()
  await turn()
  assert.deepEqual(exchange.calls, ['respond bad_request'])
  assert.equal(factory.last.events.length, 0)
})

test('an answer streams; a client that is slow makes the guest wait for its credit', async () => {
  const { factory, run } = openPool()
  const { exchange } = await run()
  factory.last.emit(Emit.head, 1, 200, ['x-a', '1'], Emit.chunk, 1, new Uint8Array(100))
  assert.deepEqual(factory.last.messages('credit'), [[1, 100]])
  exchange.isFull = true
  factory.last.emit(Emit.chunk, 1, new Uint8Array(200), Emit.chunk, 1, new Uint8Array(300))
  assert.equal(factory.last.messages('credit').length, 1)
  exchange.isFull = false
  exchange.observer.drained()
  assert.deepEqual(factory.last.messages('credit')[1], [1, 500])
  factory.last.emit(Emit.end, 1, Emit.done, 1)
  assert.deepEqual(exchange.calls, ['start 200', 'write 100', 'write 200', 'write 300', 'end'])
})

test('a guest that writes on without room is cut off', async () => {
  const { factory, run, pool } = openPool()
  const { exchange } = await run()
  exchange.isFull = true
  factory.last.emit(Emit.head, 1, 200, [])
  for (let i = 0; i < 10; i++) factory.last.emit(Emit.chunk, 1, new Uint8Array(262_144))
  assert.deepEqual(exchange.calls, ['start 200', 'write 262144', 'abort'])
  assert.equal(pool.stats().inFlight, 0)
})

test('answers that HTTP does not allow are bad responses', async () => {
  const { factory, run, seen } = openPool()
  const bad: [number, string[]][] = [
    [101, []],
    [600, []],
    [200.5, []],
    [200, ['x-a', 'evil\r\nset-cookie: a=b']],
    [200, ['x-a']],
    [200, Array.from({ length: 40_000 }, () => 'abcd')],
  ]
  for (const [status, headers] of bad) {
    const { exchange } = await run()
    exchange.refuses = 'evil\r\nset-cookie: a=b'
    factory.last.emit(Emit.response, 1, status, headers, 'x', Emit.done, 1)
    factory.last.settle()
    assert.deepEqual(exchange.calls, ['respond bad_response'])
    assert.ok(seen.at(-1)!.startsWith('log error bad_response: '))
  }
})

test('a function cannot speak for the host in its answer', async () => {
  const { factory, run } = openPool()
  const { exchange, call } = await run()
  const headers = ['skep-request-id', 'forged', 'x-a', '1', 'Skep-Error', 'internal', 'skep-x', '2', 'x-b', '3']
  factory.last.emit(Emit.response, 1, 200, headers, 'ok', Emit.done, 1)
  assert.deepEqual(exchange.answerHeaders, ['x-a', '1', 'x-b', '3', 'skep-request-id', call.requestId])
})

const HOSTILE: [name: string, batch: Batch, calls: string[]][] = [
  ['done without an answer', [Emit.done, 1], ['respond no_response']],
  ['done twice', [Emit.response, 1, 200, [], 'ok', Emit.done, 1, Emit.done, 1, Emit.done, 1], ['respond 200 ok']],
  ['two answers', [Emit.response, 1, 200, [], 'ok', Emit.response, 1, 201, [], 'no', Emit.done, 1], ['respond 200 ok']],
  ['a head after an answer', [Emit.response, 1, 200, [], 'ok', Emit.head, 1, 200, [], Emit.done, 1], ['respond 200 ok']],
  ['two heads', [Emit.head, 1, 200, [], Emit.head, 1, 201, [], Emit.end, 1, Emit.done, 1], ['start 200', 'end']],
  ['an answer after a head', [Emit.head, 1, 200, [], Emit.response, 1, 200, [], 'x', Emit.done, 1], ['start 200', 'abort']],
  ['a chunk before the head', [Emit.chunk, 1, new Uint8Array(1), Emit.end, 1, Emit.done, 1], ['respond no_response']],
  [
    'a chunk after the end',
    [Emit.head, 1, 200, [], Emit.end, 1, Emit.chunk, 1, new Uint8Array(1), Emit.done, 1],
    ['start 200', 'end'],
  ],
  ['broken before the head', [Emit.broken, 1, 'x', Emit.done, 1], ['respond function_threw']],
  ['failed after the head', [Emit.head, 1, 200, [], Emit.failed, 1, 'internal', 'x', '', Emit.done, 1], ['start 200', 'abort']],
  ['a failure with a code of the host', [Emit.failed, 1, 'unauthorized', 'x', '', Emit.done, 1], ['respond function_threw']],
  [
    'events that are not there',
    [Emit.response, 9, 200, [], 'x', Emit.done, 9, Emit.done, 0, Emit.done, 2 ** 40, Emit.done, 1],
    ['respond no_response'],
  ],
]
for (const [name, batch, calls] of HOSTILE) {
  test(`hostile emissions: ${name}`, async () => {
    const { factory, run, pool, finished } = openPool()
    const { exchange } = await run()
    factory.last.emit(...batch)
    factory.last.settle()
    assert.deepEqual(exchange.calls, calls)
    assert.equal(finished.length, 1)
    assert.equal(pool.stats().inFlight, 0)
    const next = await run()
    assert.deepEqual(factory.last.events, [1, 1])
    factory.last.answer(1)
    assert.deepEqual(next.exchange.calls, ['respond 200 ok'])
  })
}

test('a guest cannot fill the log, neither of one event nor beside all', async () => {
  const { clock, factory, run, seen } = openPool({ limits: { logBytes: 1_000 } })
  await run()
  const lines = () => seen.filter((line) => line.startsWith('log ')).length
  for (let i = 0; i < 100; i++) factory.last.emit(Emit.log, 1, 'info', 'x'.repeat(100))
  assert.equal(lines(), 20)
  for (let i = 0; i < 100; i++) factory.last.emit(Emit.log, 0, 'nonsense', 'x'.repeat(100))
  assert.equal(lines(), 40)
  for (let i = 0; i < 100; i++) factory.last.emit(Emit.failed, 1, 'x', 'x', 'x')
  assert.equal(lines(), 41)
  await clock.pass(1_000)
  factory.last.emit(Emit.log, 0, 'info', 'again')
  assert.equal(lines(), 42)
})

test('an answer without a body ends at its head, and the guest stops making one', async () => {
  const { factory, run } = openPool()
  const { exchange } = await run()
  exchange.method = 'HEAD'
  factory.last.emit(Emit.head, 1, 200, [], Emit.chunk, 1, new Uint8Array(10))
  assert.deepEqual(exchange.calls, ['start 200', 'end'])
  assert.equal(factory.last.messages('abort').length, 1)
})
