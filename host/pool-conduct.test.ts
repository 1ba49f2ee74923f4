/** Moves without a gap, and tries of one event: the pool over a fake of everything around it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SkepError } from './errors.ts'
import { turn } from './test-support/clock.ts'
import { openPool } from './test-support/pool.ts'
import type { PoolConduct } from './pool.ts'

test('a move loads the new one first: nothing waits, nothing is lost, nothing runs twice', async () => {
  const { factory, run, pool } = openPool()
  const first = await run()
  const old = factory.last
  factory.isEager = false
  old.move()
  await turn()
  const fresh = factory.last
  assert.notEqual(fresh, old)
  const second = await run()
  old.answer(1, 'one')
  old.settle()
  await turn()
  assert.deepEqual(old.events, [1, 1], 'the old one has them while the new one loads')
  assert.deepEqual(first.exchange.calls, ['respond 200 one'])
  fresh.start()
  await turn()
  const third = await run()
  assert.deepEqual(fresh.events, [1])
  assert.equal(old.isDisposed, false)
  old.answer(1, 'two')
  fresh.answer(1, 'three')
  assert.equal(old.isDisposed, true)
  assert.deepEqual(second.exchange.calls, ['respond 200 two'])
  assert.deepEqual(third.exchange.calls, ['respond 200 three'])
  assert.deepEqual([pool.stats().ready, pool.stats().draining], [1, 0])
})

test('a move that the store is away for is made later, and what is loaded answers meanwhile', async () => {
  const { factory, run, source, clock } = openPool()
  await run()
  const old = factory.last
  old.answer(1, 'one')
  old.settle()
  source.error = new SkepError('store_unavailable', 'away')
  old.move()
  await turn()
  await clock.pass(1_000)
  const { exchange } = await run()
  old.answer(1, 'two')
  old.settle()
  assert.deepEqual(exchange.calls, ['respond 200 two'])
  await clock.pass(1_500)
  assert.equal(old.isDisposed, false)
  source.error = undefined
  await clock.pass(2_000)
  assert.notEqual(factory.last, old)
  assert.equal(old.isDisposed, true)
})

test('a move is made once, however often it is asked for', async () => {
  const { factory, run } = openPool()
  await run()
  factory.isEager = false
  const old = factory.last
  for (let count = 0; count < 5; count++) old.move()
  await turn()
  assert.equal(factory.made.length, 2)
})

test('one that cannot be loaded in its new place leaves the old one when that is at rest', async () => {
  const { factory, run, seen } = openPool()
  const { exchange } = await run()
  const old = factory.last
  factory.isEager = false
  old.move()
  await turn()
  factory.last.refuse(new Error('no'))
  await turn()
  old.answer(1)
  assert.deepEqual(exchange.calls, ['respond 200 ok'])
  assert.equal(old.isDisposed, true)
  assert.deepEqual(
    seen.filter((line) => line.startsWith('not loaded')),
    [],
  )
  factory.isEager = true
  const next = await run()
  factory.last.answer(1)
  assert.deepEqual(next.exchange.calls, ['respond 200 ok'])
})

test('the old one is lost while the new one loads: its calls that had not begun go to the new one', async () => {
  const { factory, run } = openPool()
  const { exchange } = await run()
  const old = factory.last
  factory.isEager = false
  old.move()
  await turn()
  const fresh = factory.last
  fresh.start()
  old.end('worker_lost', [1])
  await turn()
  for (const sandbox of factory.made.slice(1)) sandbox.start()
  await turn()
  const used = factory.made.filter((sandbox) => sandbox !== old && sandbox.events.length > 0)
  assert.equal(used.length, 1)
  used[0]!.answer(1)
  assert.deepEqual(exchange.calls, ['respond 200 ok'])
})

test('a pool that closes does not wait for moves', async () => {
  const { factory, pool, run } = openPool()
  await run()
  const old = factory.last
  factory.isEager = false
  old.move()
  await turn()
  factory.last.start()
  const closing = pool.close(1_000)
  old.answer(1)
  await closing
  assert.ok(factory.made.every(({ isDisposed }) => isDisposed))
})

/** Quarantine as a test says it is. */
class FakeConduct implements PoolConduct {
  refused: { seconds: number } | undefined
  probe = false
  refusal = () => this.refused
  isProbe = () => this.probe
}

test('what is in quarantine is answered with the time that is left, and loads nothing', async () => {
  const conduct = new FakeConduct()
  conduct.refused = { seconds: 7 }
  const { run, source } = openPool({ conduct })
  const { exchange } = await run()
  assert.deepEqual(exchange.calls, ['respond quarantined'])
  assert.deepEqual(exchange.answerHeaders.slice(-2), ['retry-after', '7'])
  assert.equal(source.loads, 0)
})

test('a try runs one event; the others hear that they have to wait, until it has gone well', async () => {
  const conduct = new FakeConduct()
  const { factory, run, pool } = openPool({ conduct })
  factory.isEager = false
  const first = await run()
  const together = await run()
  conduct.probe = true
  factory.last.start()
  await turn()
  assert.deepEqual(factory.last.events, [1])
  assert.deepEqual(together.exchange.calls, ['respond quarantined'])
  conduct.refused = { seconds: 1 }
  const later = await run()
  assert.deepEqual(later.exchange.calls, ['respond quarantined'])
  factory.last.answer(1)
  factory.last.settle()
  assert.deepEqual(first.exchange.calls, ['respond 200 ok'])
  conduct.refused = undefined
  conduct.probe = false
  const proven = await run()
  factory.last.answer(1, 'again')
  assert.deepEqual(proven.exchange.calls, ['respond 200 again'])
  assert.equal(factory.made.length, 1)
  assert.equal(pool.stats().ready, 1)
})

test('a try that fails leaves nothing behind', async () => {
  const conduct = new FakeConduct()
  conduct.probe = true
  const { factory, run, pool } = openPool({ conduct })
  const { exchange } = await run()
  factory.last.end('cpu_exceeded')
  assert.deepEqual(exchange.calls, ['respond cpu_exceeded'])
  conduct.refused = { seconds: 20 }
  assert.deepEqual((await run()).exchange.calls, ['respond quarantined'])
  assert.deepEqual(pool.stats(), { ready: 0, loading: 0, draining: 0, memoryBytes: 0, inFlight: 0 })
})

test('a try whose client has left is none', async () => {
  const conduct = new FakeConduct()
  conduct.probe = true
  const { factory, run } = openPool({ conduct })
  factory.isEager = false
  const { exchange } = await run()
  exchange.observer.aborted()
  factory.last.start()
  await turn()
  assert.equal(factory.last.isDisposed, true)
  assert.deepEqual(factory.last.events, [])
})
