import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { Emit } from '../sandbox/protocol.ts'
import { turn } from './test-support/clock.ts'
import { openPool } from './test-support/pool.ts'

const codeOf = ({ exchange }: { exchange: { calls: string[] } }) => exchange.calls[0]
const retryAfter = ({ exchange }: { exchange: { answerHeaders: string[] } }) =>
  Number(exchange.answerHeaders[exchange.answerHeaders.indexOf('retry-after') + 1])

test('a tenant has so many requests in flight, whatever they wait for, and another tenant does not notice', async () => {
  const { factory, enter, usage } = openPool({ config: { admission: { inFlight: 3 }, tenants: { big: { inFlight: 5 } } } })
  factory.isEager = false
  const calls = Array.from({ length: 4 }, (_, i) => enter('flood', `f${i}`))
  assert.deepEqual(calls.map(codeOf), [undefined, undefined, undefined, 'respond overloaded'])
  assert.equal(codeOf(enter('victim')), undefined)
  const big = Array.from({ length: 6 }, () => enter('big'))
  assert.equal(big.filter((call) => codeOf(call) === 'respond overloaded').length, 1)
  await turn()
  calls[0]!.exchange.observer.aborted()
  assert.equal(codeOf(enter('flood')), undefined)
  assert.equal(usage.of('flood', 'f3').limits.get('inFlight'), 1)
})

test('an event counts until the guest lets go of it, answered or not', async () => {
  const { clock, factory, enter } = openPool({ config: { admission: { inFlight: 1 } }, limits: { wallMs: 1_000 } })
  const first = enter('acme')
  await turn()
  factory.last.answer(1)
  factory.last.settle()
  const second = enter('acme')
  assert.deepEqual([codeOf(first), codeOf(second)], ['respond 200 ok', undefined])
  await turn()
  factory.last.emit(Emit.response, 1, 200, [], 'ok')
  assert.equal(codeOf(enter('acme')), 'respond overloaded')
  await clock.pass(1_000)
  assert.equal(codeOf(enter('acme')), undefined)
})

/** A function of which it is known what its events take. */
async function known(pool: ReturnType<typeof openPool>, tenant: string, fn: string, cpuMs: number): Promise<void> {
  for (let i = 0; i < 30; i++) {
    const { call } = pool.enter(tenant, fn)
    await turn()
    const sandbox = pool.factory.made.find((made) => made.spec.name === fn && made.messages('fetch').length > i)!
    sandbox.answer(call.event)
    sandbox.settle({ cpuMs })
    await turn()
  }
}

test('what would wait for too long is refused, and whose own work is small is not', async () => {
  const pool = openPool({ config: { admission: { maxWaitMs: 1_000 } }, limits: { concurrency: 1_000 } })
  await known(pool, 'heavy', 'h', 40)
  await known(pool, 'light', 'l', 0.1)
  await known(pool, 'other', 'o', 40)
  const answers = Array.from({ length: 60 }, () => pool.enter('heavy', 'h'))
  const refused = answers.filter((answer) => codeOf(answer) === 'respond saturated')
  // One costly isolate runs at once: 25 events of 40 ms are a second.
  assert.ok(refused.length >= 33 && refused.length <= 36, `${refused.length} of 60 were refused`)
  assert.equal(retryAfter(refused[0]!), 2)
  assert.equal(codeOf(pool.enter('light', 'l')), undefined)
  assert.equal(codeOf(pool.enter('other', 'o')), undefined)
  assert.equal(pool.usage.of('heavy', 'h').limits.get('maxWaitMs'), refused.length)
})

test('Retry-After follows what is queued and what an event takes, between 1 and 30 s', async () => {
  const pool = openPool({ limits: { concurrency: 1 }, config: { admission: { maxWaitMs: 600_000 } } })
  const use = pool.usage.of('acme', 'a')
  const refusal = async () => {
    const calls = [pool.enter('acme'), pool.enter('acme'), pool.enter('acme')]
    await turn()
    const refused = calls.find((call) => codeOf(call) === 'respond overloaded')!
    for (const { exchange } of calls) exchange.observer.aborted()
    return retryAfter(refused)
  }
  assert.equal(await refusal(), 1)
  use.durationMs = 4_200
  assert.equal(await refusal(), 5)
  use.durationMs = 100_000
  assert.equal(await refusal(), 30)
})

test('time to dispatch is told for each event: load, queue and lane together', async () => {
  const { clock, factory, enter, waits } = openPool()
  factory.isEager = false
  enter('acme')
  await clock.pass(70)
  factory.last.start()
  await turn()
  factory.last.settle({ waitedMs: 5 })
  assert.deepEqual(waits, [75])
})

test('CPU time of what was killed counts, and makes its function a costly one', async () => {
  const { factory, enter, usage } = openPool()
  enter('acme')
  await turn()
  factory.last.end('cpu_exceeded', [], 50)
  const use = usage.of('acme', 'a')
  assert.equal(use.totals.cpuMs, 50 + 1)
  assert.equal(use.costMs, 50)
  assert.equal(use.isolates, 0)
})

const step = fc.record({
  what: fc.constantFrom(
    'enter',
    'enter',
    'enter',
    'answer',
    'answer',
    'settle',
    'settle',
    'abort',
    'end',
    'head',
    'pass',
    'retire',
  ),
  which: fc.nat(30),
})

test('whatever happens, a place in flight is given back, and nothing stays queued', { timeout: 60_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 80, size: 'max' }), async (steps) => {
      const config = { admission: { inFlight: 6, maxWaitMs: 300 } }
      const { clock, factory, pool, enter, usage, admission, finished } = openPool({
        config,
        limits: { wallMs: 1_000, concurrency: 3 },
      })
      const calls: ReturnType<typeof enter>[] = []
      const any = <T>(list: T[], which: number): T | undefined => list[which % Math.max(1, list.length)]
      for (const { what, which } of steps) {
        const sandbox = any(factory.made, which)
        const event = 1 + (which % 3)
        if (what === 'enter') calls.push(enter(`t${which % 2}`, `f${which % 3}`))
        else if (what === 'abort') any(calls, which)?.exchange.observer.aborted()
        else if (what === 'pass') await clock.pass(which * 40)
        else if (sandbox === undefined || sandbox.isDisposed || sandbox.isEnded) continue
        else if (what === 'answer') sandbox.answer(event)
        else if (what === 'head') sandbox.emit(Emit.head, event, 200, [])
        else if (what === 'settle') sandbox.settle({ cpuMs: which })
        else if (what === 'retire') sandbox.retire()
        else sandbox.end('cpu_exceeded', sandbox.events.slice(0, which % 3), which)
        await turn()
        for (const use of usage.all) assert.ok(use.inFlight >= 0 && use.tenant.inFlight <= 6 && use.isolates >= 0)
      }
      const closing = pool.close(5_000)
      await clock.pass(10_000)
      await closing
      assert.equal(finished.length, calls.length)
      for (const use of usage.all) {
        assert.deepEqual([use.inFlight, use.tenant.inFlight, use.isolates, use.memoryBytes], [0, 0, 0, 0])
        assert.deepEqual([use.tenant.light.micros, use.tenant.costly.micros], [0, 0])
      }
      assert.deepEqual(admission.backlog(), { light: 0, costly: 0, tenants: 0 })
    }),
    { numRuns: 200 },
  )
})
