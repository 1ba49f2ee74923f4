import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PlacedFactory } from '../../host/placed-factory.ts'
import { Emit } from '../../sandbox/protocol.ts'
import type { Batch } from '../../sandbox/protocol.ts'
import type { SandboxFactory } from '../../sandbox/sandbox.ts'
import { fetchMessage, handler, Probe } from './probe.ts'

/** Keeps so much of it for ever, and answers. */
const GROWTH: Record<string, string> = {
  arrays: `kept.push(Array.from({ length: 250_000 }, (_, i) => i + 0.5))`,
  'a Map': `kept[0] ??= new Map(); for (let i = 0; i < 60_000; i++) kept[0].set(kept[0].size, i)`,
  'a property table': `kept[0] ??= {}; globalThis.n ??= 0; for (let i = 0; i < 40_000; i++) kept[0]['k' + n++] = i`,
  strings: `kept.push('x'.repeat(2e6).replace(/^x/, 'y'))`,
  buffers: `kept.push(new Uint8Array(3e5).fill(1))`,
}

/** What a function may keep in memory. */
export function memoryCases(factory: () => SandboxFactory): void {
  test('memory: objects without end', async () => {
    const probe = new Probe(factory(), handler('let all = []; for (;;) all = [all, {}, []]'), {
      limits: { memoryMb: 16, cpuMs: 20_000 },
    })
    await probe.sandbox.ready
    probe.send()
    assert.equal((await probe.failure()).code, 'memory_exceeded')
  })

  test('memory: strings without end', async () => {
    const body = `const all = []; for (let i = 0; ; i++) all.push((i + 'x').repeat(1 << 18).toUpperCase())`
    const probe = new Probe(factory(), handler(body), { limits: { memoryMb: 32, cpuMs: 20_000 } })
    await probe.sandbox.ready
    probe.send()
    assert.equal((await probe.failure()).code, 'memory_exceeded')
  })

  for (const [what, grow] of Object.entries(GROWTH)) {
    test(`memory: ${what} that grow from event to event end the isolate`, async () => {
      const probe = new Probe(factory(), handler(`${grow}; return new Response('kept')`, 'globalThis.kept = []'), {
        limits: { memoryMb: 24 },
      })
      await probe.sandbox.ready
      let events = 0
      for (; probe.failures.length === 0 && events < 400; events++) {
        const event = probe.send()
        await probe.until(() => probe.of(Emit.done, event).length > 0 || probe.failures.length > 0)
        if (probe.failures.length === 0) assert.equal(probe.of(Emit.response, event).length, 1)
      }
      assert.equal(probe.failures[0]?.code, 'memory_exceeded')
    })
  }

  for (const [what, keep] of [
    ['buffers', 'new Uint8Array(25e6).fill(1)'],
    ['the heap', 'Array.from({ length: 3e6 }, (_, i) => i + 0.5)'],
  ]) {
    test(`memory: a little more than the limit (${what}) retires the isolate, which goes on`, async () => {
      const body = `globalThis.kept ??= ${keep}; return new Response('kept')`
      const probe = new Probe(factory(), handler(body), { limits: { memoryMb: 24 } })
      await probe.sandbox.ready
      assert.equal(await probe.get(), 'kept')
      await probe.until(() => probe.retired > 0)
      assert.equal(await probe.get(), 'kept')
      assert.deepEqual(probe.failures, [])
      probe.sandbox.dispose()
    })
  }

  test('memory: garbage does not count', async () => {
    const body = `for (let i = 0; i < 12; i++) { new Uint8Array(1e6); Array.from({ length: 60_000 }, (_, k) => ({ k })) } return new Response('fine')`
    const probe = new Probe(factory(), handler(body), { limits: { memoryMb: 24 } })
    await probe.sandbox.ready
    for (let i = 0; i < 40; i++) assert.equal(await probe.get(), 'fine')
    assert.deepEqual(probe.failures, [])
    // A new version that has behaved may be wanted elsewhere.
    assert.ok(probe.retired === 0 || factory() instanceof PlacedFactory)
    probe.sandbox.dispose()
  })

  test('memory: a top level that keeps more than the limit is refused', async () => {
    const probe = new Probe(factory(), handler('return new Response()', 'globalThis.kept = new Uint8Array(20e6)'), {
      limits: { memoryMb: 16 },
    })
    await assert.rejects(probe.sandbox.ready, { code: 'start_failed', message: /more than 16 MB of memory/ })
  })

  test('memory: of a batch, what had not begun when it ran out is named, and nothing else', async () => {
    const body = `if (request.url.endsWith('/2')) for (let all = []; ; ) all = [all, {}, []]; return new Response('fine')`
    const probe = new Probe(factory(), handler(body), { limits: { memoryMb: 16, cpuMs: 20_000 } })
    await probe.sandbox.ready
    const batch: Batch = []
    for (let event = 1; event <= 4; event++) batch.push(...fetchMessage(event, `/${event}`))
    probe.sandbox.dispatch(batch)
    const { code, notBegun } = await probe.failure()
    assert.deepEqual([code, notBegun], ['memory_exceeded', [3, 4]])
  })
}
