import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SkepError } from './errors.ts'
import { Emit } from '../sandbox/protocol.ts'
import { turn } from './test-support/clock.ts'
import { openPool, version } from './test-support/pool.ts'

const refused = (message = 'It does not start') => new SkepError('start_failed', message)

test('callers of one version share one load, and one isolate', async () => {
  const { factory, source, run, pool } = openPool()
  factory.isEager = false
  const calls = [await run(), await run(), await run()]
  assert.deepEqual([source.loads, factory.made.length, pool.stats().loading], [1, 1, 1])
  factory.last.start()
  await turn()
  assert.equal(factory.last.events.length, 1)
  factory.last.settle({ cpuMs: 0.1 })
  for (const event of factory.last.events) factory.last.answer(event)
  await turn()
  for (const { exchange } of calls) assert.deepEqual(exchange.calls, ['respond 200 ok'])
  assert.deepEqual(pool.stats(), { ready: 1, loading: 0, draining: 0, memoryBytes: 1_000_000, inFlight: 0 })
})

test('the least recently used isolate makes room for another', async () => {
  const { clock, factory, run, pool, seen } = openPool({ maxIsolates: 2 })
  for (const fn of ['a', 'b', 'a', 'c']) {
    const { exchange } = await run(fn)
    const sandbox = factory.made.findLast((made) => made.spec.name === fn)!
    sandbox.answer(sandbox.events.at(-1)!)
    sandbox.settle()
    assert.deepEqual(exchange.calls, ['respond 200 ok'])
    await clock.pass(10)
  }
  assert.deepEqual(seen, ['started a', 'started b', 'evicted count', 'started c'])
  assert.deepEqual(factory.made.map((made) => made.isDisposed), [false, true, false]) // prettier-ignore
  assert.equal(pool.stats().ready, 2)
})

test('loads that wait for the store count, so that many at once do not pass the limit together', async () => {
  const { factory, run, pool, clock } = openPool({ maxIsolates: 3 })
  factory.isEager = false
  const calls = await Promise.all(['a', 'b', 'c', 'd', 'e'].map((fn) => run(fn)))
  assert.equal(factory.made.length, 3)
  for (let round = 0; round < 5; round++) {
    for (const sandbox of factory.made) sandbox.start()
    await turn()
    for (const sandbox of factory.made) for (const event of sandbox.events) sandbox.answer(event)
    await turn()
    assert.ok(pool.stats().ready + pool.stats().loading - factory.made.length <= 3)
  }
  await clock.pass(1)
  for (const { exchange } of calls) assert.deepEqual(exchange.calls, ['respond 200 ok'])
  assert.ok(pool.stats().ready <= 3)
})

test('memory over the limit drops what is at rest, on the next load and on the sweep', async () => {
  const { clock, factory, run, seen, pool } = openPool({ maxMemory: 10_000_000 })
  for (const fn of ['a', 'b']) {
    await run(fn)
    factory.last.answer(1)
    factory.last.settle({ memoryBytes: 6_000_000 })
    await clock.pass(10)
  }
  assert.equal(pool.stats().memoryBytes, 12_000_000)
  await run('c')
  assert.deepEqual(seen, ['started a', 'started b', 'evicted memory', 'started c'])
  factory.last.answer(1)
  factory.last.settle({ memoryBytes: 9_000_000 })
  await clock.pass(1_000)
  assert.equal(seen.at(-1), 'evicted memory')
  assert.equal(pool.stats().memoryBytes, 9_000_000)
})

test('an isolate without work is dropped after its time, one at work never', async () => {
  const { clock, factory, run, pool, seen } = openPool({ idleMs: 5_000 })
  await run('a')
  factory.last.answer(1)
  await run('b')
  await clock.pass(4_900)
  assert.equal(pool.stats().ready, 2)
  await clock.pass(2_000)
  assert.deepEqual(factory.made.map((made) => made.isDisposed), [true, false]) // prettier-ignore
  assert.equal(seen.at(-1), 'evicted idle')
})

test('a failed start is remembered for longer and longer, and a new deployment forgets it', async () => {
  const { clock, factory, run, pool, seen, source } = openPool()
  factory.isEager = false
  const fail = async () => {
    const { exchange } = await run()
    const before = source.loads
    factory.last.refuse(refused())
    await turn()
    assert.deepEqual(exchange.calls, ['respond start_failed'])
    return before
  }
  await fail()
  for (const pause of [500, 1_000, 2_000]) {
    const { exchange } = await run()
    assert.deepEqual(exchange.calls, ['respond start_failed'])
    await clock.pass(pause - 1)
    await run()
    const loads = source.loads
    await clock.pass(1)
    await fail()
    assert.equal(source.loads, loads + 1)
  }
  assert.equal(seen.filter((line) => line === 'not loaded a start_failed').length, 4)
  pool.forgetFailures('acme', 'a')
  const { exchange } = await run()
  factory.last.start()
  await turn()
  factory.last.answer(1)
  assert.deepEqual(exchange.calls, ['respond 200 ok'])
})

test('a store that was away is asked again by the next call', async () => {
  const { run, source, factory } = openPool()
  source.error = new SkepError('store_unavailable', 'away')
  assert.deepEqual((await run()).exchange.calls, ['respond store_unavailable'])
  source.error = undefined
  const { exchange } = await run()
  factory.last.answer(1)
  assert.deepEqual(exchange.calls, ['respond 200 ok'])
})

test('an error that nobody foresaw is internal, and tells callers nothing', async () => {
  const { run, source, seen } = openPool()
  source.error = new RangeError('secret')
  const { exchange } = await run()
  assert.deepEqual(exchange.calls, ['respond internal'])
  assert.deepEqual(seen, ['not loaded a internal'])
})

test('a call waits for room, gets it when an isolate comes to rest, and is saturated when none does', async () => {
  const { clock, factory, run } = openPool({ maxIsolates: 1 })
  const first = await run('a')
  const second = await run('b')
  const third = await run('c')
  assert.equal(factory.made.length, 1)
  await clock.pass(4_000)
  factory.last.answer(1)
  await turn()
  assert.deepEqual(first.exchange.calls, ['respond 200 ok'])
  assert.equal(factory.last.spec.name, 'b')
  await clock.pass(1_000)
  assert.deepEqual(third.exchange.calls, ['respond saturated'])
  assert.ok(third.exchange.answerHeaders.includes('retry-after'))
  factory.last.answer(1)
  assert.deepEqual(second.exchange.calls, ['respond 200 ok'])
})

test('one who gave up waiting for room takes nobody else their turn', async () => {
  const { clock, factory, run } = openPool({ maxIsolates: 1 })
  await run('a')
  await run('b')
  await clock.pass(4_999)
  const { exchange } = await run('c')
  await clock.pass(1)
  factory.last.answer(1)
  await turn()
  assert.equal(factory.last.spec.name, 'c')
  factory.last.answer(1)
  assert.deepEqual(exchange.calls, ['respond 200 ok'])
})

test('events that had not begun go to a fresh isolate, once each; the one that ran pays', async () => {
  const { factory, run, seen, createCall, pool } = openPool()
  const first = await run()
  factory.last.answer(1)
  factory.last.settle({ cpuMs: 0.1 })
  assert.deepEqual(first.exchange.calls, ['respond 200 ok'])
  const calls = [createCall(), createCall(), createCall()]
  for (const { call } of calls) pool.run(version('a'), call)
  await turn()
  const [spinner, ...others] = factory.last.events.slice(1)
  assert.equal(others.length, 2)
  factory.last.end('cpu_exceeded', others)
  await turn()
  assert.deepEqual(calls[0]!.exchange.calls, ['respond cpu_exceeded'])
  assert.equal(spinner, 1)
  assert.equal(factory.made.length, 2)
  factory.last.settle({ cpuMs: 0.1 })
  await turn()
  for (const event of factory.last.events) factory.last.answer(event)
  for (const { exchange } of calls.slice(1)) assert.deepEqual(exchange.calls, ['respond 200 ok'])
  assert.deepEqual(factory.last.messages('fetch').map((fields) => fields[1]).toSorted(), calls.slice(1).map(({ call }) => call.requestId)) // prettier-ignore
  assert.ok(seen.includes('failed a cpu_exceeded'))
})

for (const code of ['cpu_exceeded', 'memory_exceeded', 'bad_guest'] as const) {
  test(`${code}: what had not begun is run again, what had begun or was heard of is not`, async () => {
    const { factory, run, createCall, pool } = openPool()
    await run()
    factory.last.answer(1)
    factory.last.settle({ cpuMs: 0.1 })
    const calls = [createCall(), createCall(), createCall()]
    for (const { call } of calls) pool.run(version('a'), call)
    await turn()
    const [heard, ran, next] = factory.last.events.slice(1) as [number, number, number]
    factory.last.emit(Emit.bodyCredit, heard, 1)
    factory.last.end(code, [heard, next, next, 99, -1])
    await turn()
    const answer = code === 'bad_guest' ? 'function_threw' : code
    assert.deepEqual([calls[0]!.exchange.calls, calls[1]!.exchange.calls], [[`respond ${answer}`], [`respond ${answer}`]])
    assert.notEqual(ran, next)
    assert.deepEqual(factory.last.events.length, 1)
    factory.last.answer(factory.last.events[0]!)
    assert.deepEqual(calls[2]!.exchange.calls, ['respond 200 ok'])
  })
}

test('an event that goes from isolate to isolate gives up in the end', async () => {
  const { factory, run } = openPool()
  const { exchange } = await run()
  for (let i = 0; i < 4; i++) {
    assert.equal(factory.made.length, i + 1)
    factory.last.end('cpu_exceeded', [1])
    await turn()
  }
  assert.deepEqual(exchange.calls, ['respond cpu_exceeded'])
  assert.equal(factory.made.length, 4)
})

test('a guest that denies to have begun what it answers gets nothing run twice', async () => {
  const { factory, run, finished } = openPool()
  const { exchange } = await run()
  factory.last.emit(2, 1, 200, [], 3, 1, Buffer.from('abc'))
  factory.last.end('memory_exceeded', [1, 1, 0, 7])
  await turn()
  assert.deepEqual(exchange.calls, ['start 200', 'write 3', 'abort'])
  assert.equal(factory.made.length, 1)
  assert.equal(finished.length, 1)
})

test('a lost process costs the calls in it and no others: those that waited run elsewhere', async () => {
  const { factory, run } = openPool()
  const running = await run()
  const waiting = await run()
  factory.last.end('worker_lost')
  await turn()
  assert.deepEqual(running.exchange.calls, ['respond worker_lost'])
  assert.equal(factory.made.length, 2)
  factory.last.answer(1)
  assert.deepEqual(waiting.exchange.calls, ['respond 200 ok'])
})

test('a process that is lost while a function loads in it is replaced, and not for ever', async () => {
  const { factory, run } = openPool()
  factory.isEager = false
  const { exchange } = await run()
  for (let i = 0; i < 4; i++) {
    assert.equal(factory.made.length, i + 1)
    factory.last.refuse(new SkepError('worker_lost', 'gone'))
    await turn()
  }
  assert.deepEqual(exchange.calls, ['respond worker_lost'])
  assert.equal(factory.made.length, 4)
})

test('an isolate that is retired while it loads runs what waits for it, and then goes', async () => {
  const { factory, run, pool } = openPool()
  factory.isEager = false
  const early = await run()
  factory.last.retire()
  await turn()
  assert.equal(factory.last.isDisposed, false)
  factory.last.start()
  await turn()
  const late = await run()
  assert.equal(factory.made.length, 2)
  assert.deepEqual(pool.stats().draining, 1)
  factory.made[0]!.answer(1)
  assert.ok(factory.made[0]!.isDisposed)
  factory.last.start()
  await turn()
  factory.last.answer(1)
  for (const { exchange } of [early, late]) assert.deepEqual(exchange.calls, ['respond 200 ok'])
  assert.deepEqual([pool.stats().ready, pool.stats().draining], [1, 0])
})

test('a retired isolate takes nothing new while it finishes', async () => {
  const { factory, run } = openPool()
  const old = await run()
  factory.last.retire()
  const fresh = await run()
  assert.equal(factory.made.length, 2)
  factory.made[0]!.answer(1)
  factory.made[1]!.answer(1)
  assert.deepEqual([old.exchange.calls, fresh.exchange.calls], [['respond 200 ok'], ['respond 200 ok']])
  assert.deepEqual(factory.made.map((made) => made.isDisposed), [true, false]) // prettier-ignore
})

test('closing refuses new calls, and finishes those in flight and those that wait for a load', async () => {
  const { factory, run, pool } = openPool()
  const running = await run('a')
  factory.isEager = false
  const loading = await run('b')
  const closed = pool.close(30_000)
  await turn()
  assert.deepEqual((await run('a')).exchange.calls, ['respond draining'])
  assert.deepEqual((await run('c')).exchange.calls, ['respond draining'])
  factory.made[0]!.answer(1)
  factory.made[1]!.start()
  await turn()
  assert.equal(factory.isClosed, false)
  factory.made[1]!.answer(1)
  await closed
  assert.ok(factory.isClosed)
  assert.deepEqual([running.exchange.calls, loading.exchange.calls], [['respond 200 ok'], ['respond 200 ok']])
  assert.ok(factory.made.every((made) => made.isDisposed))
})

test('closing cuts what does not finish in time, loads included', async () => {
  const { factory, run, pool, clock } = openPool()
  const stuck = await run('a')
  factory.isEager = false
  const loading = await run('b')
  const closed = pool.close(5_000)
  await clock.pass(5_000)
  await closed
  assert.deepEqual([stuck.exchange.calls, loading.exchange.calls], [['respond draining'], ['respond draining']])
  factory.last.start()
  await turn()
  assert.ok(factory.last.isDisposed)
})

test('closing an idle pool is at once', async () => {
  const { factory, run, pool } = openPool()
  await run()
  factory.last.answer(1)
  await pool.close(30_000)
  assert.ok(factory.isClosed && factory.last.isDisposed)
})

test('a flood that waits for one load is bounded', async () => {
  const { factory, createCall, pool } = openPool()
  factory.isEager = false
  const calls = Array.from({ length: 2_100 }, () => createCall())
  for (const { call } of calls) pool.run(version('a'), call)
  await turn()
  assert.equal(calls.filter(({ call }) => call.outcome === 'overloaded').length, 100)
  factory.last.start()
  await turn()
  // The default is 200 in flight and as many that wait.
  assert.equal(calls.filter(({ call }) => call.outcome === 'overloaded').length, 1_700)
})
