import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Emit } from '../../sandbox/protocol.ts'
import type { Batch } from '../../sandbox/protocol.ts'
import type { SandboxFactory } from '../../sandbox/sandbox.ts'
import { fetchMessage, handler, Probe } from './probe.ts'

const SHORT = { limits: { cpuMs: 30 } }

/** What a function may use, and what becomes of its batch-mates when it uses more. */
export function limitCases(factory: () => SandboxFactory): void {
  const loops: Record<string, string> = {
    'at once': 'for (;;);',
    'after an await': 'await null; for (;;);',
    'by promises': 'for (;;) await null',
    'in a timer': 'await new Promise((r) => setTimeout(r, 1)); for (;;);',
    'without a check that V8 would make': 'for (;;) new Array(1000).fill(1)',
    'in a regular expression': `return new Response(String(/^(a+)+$/.test('a'.repeat(40) + 'b')))`,
    'in catch and finally': 'for (;;) { try { for (;;); } catch {} finally { for (;;); } }',
    'of its microtasks, after another was stopped': 'Promise.resolve().then(() => { for (;;); }); for (;;);',
    'in many short entries':
      'for (;;) { const until = 200_000; for (let i = 0; i < until; i++) Math.sqrt(i); await new Promise((r) => setTimeout(r, 0)) }',
  }
  for (const [how, body] of Object.entries(loops)) {
    test(`a loop ${how} is stopped`, async () => {
      const probe = new Probe(factory(), handler(body), SHORT)
      await probe.sandbox.ready
      probe.send()
      assert.equal((await probe.failure()).code, 'cpu_exceeded')
      probe.send()
      assert.equal(probe.failures.length, 1)
    })
  }

  test('of a batch that is stopped, those before have their answers and those after are named', async () => {
    const code = `({ default: { fetch(request) { if (request.url.endsWith('/3')) for (;;); return new Response('fine') } } })`
    const probe = new Probe(factory(), code, SHORT)
    await probe.sandbox.ready
    const batch: Batch = []
    for (let event = 1; event <= 5; event++) batch.push(...fetchMessage(event, `/${event}`))
    probe.sandbox.dispatch(batch)
    const failure = await probe.failure()
    assert.equal(failure.code, 'cpu_exceeded')
    assert.deepEqual(failure.notBegun, [4, 5])
    assert.deepEqual(
      probe.messages.filter(([type]) => type === Emit.response).map(([, event]) => event),
      [1, 2],
    )
    assert.deepEqual(
      probe.messages.filter(([type]) => type === Emit.done).map(([, event]) => event),
      [1, 2],
    )
  })

  test('what was dispatched while it ran is named as well', async () => {
    const probe = new Probe(factory(), handler('for (;;);'), SHORT)
    await probe.sandbox.ready
    const first = probe.send()
    await new Promise(setImmediate)
    const second = probe.send()
    const { notBegun } = await probe.failure()
    assert.ok(!notBegun.includes(first))
    assert.ok(notBegun.includes(second))
  })

  test('without a live event nothing runs, and what was due runs with the next one', async () => {
    const body = `
      if (request.url.endsWith('/ticks')) { await new Promise((r) => setTimeout(r, 20)); return new Response(String(globalThis.ticks)) }
      globalThis.ticks = 0
      setInterval(() => globalThis.ticks++, 1)
      return new Response('on')`
    const probe = new Probe(factory(), handler(body))
    await probe.sandbox.ready
    assert.equal(await probe.get(), 'on')
    await probe.until(() => probe.reports.length > 0)
    const entries = probe.reports.length
    await new Promise((resolve) => setTimeout(resolve, 30))
    assert.ok(probe.reports.length <= entries + 1)
    assert.ok(Number(await probe.get('/ticks')) > 0)
    probe.sandbox.dispose()
  })

  test('a log is cut at its limit, and says so; the next event has a log of its own', async () => {
    const probe = new Probe(
      factory(),
      handler(`for (let i = 0; i < 100; i++) console.log('x'.repeat(100)); return new Response()`),
      { limits: { logBytes: 1000 } },
    )
    await probe.sandbox.ready
    for (const event of [probe.send(), probe.send()]) {
      await probe.done(event)
      const lines = probe.logs(event)
      assert.equal(lines.length, 9)
      assert.match(lines[8]!, /^warn: The log of this event is longer than 1000 bytes/)
    }
    probe.sandbox.dispose()
  })

  test('so many timers and no more', async () => {
    const probe = new Probe(
      factory(),
      handler(`let n = 0; try { for (;; n++) setTimeout(() => {}, 1e9) } catch (error) { return new Response(n + error.name) }`),
    )
    await probe.sandbox.ready
    assert.equal(await probe.get(), '10000QuotaExceededError')
    probe.sandbox.dispose()
  })
}
