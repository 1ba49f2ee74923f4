/** Real cells over their memory, that cannot be started, or that have nothing to do. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { getPriority } from 'node:os'
import { suite, test } from 'node:test'
import { handler, Probe } from '../test/sandbox/probe.ts'
import { eventually, isGone } from '../test/served.ts'
import { CellFactory } from './cell.ts'
import { silentLog } from './log.ts'
import { FakeClock } from './test-support/clock.ts'

const egress = { allow: [], deny: [] }
const log = silentLog()

suite('a cell', { timeout: 60_000 }, () => {
  test('over its hard bound is replaced: what it holds moves on, and what holds most is named', async (t) => {
    const named: string[] = []
    const memory = { soft: 1, hard: 1 }
    const factory = new CellFactory({ egress, log, memory, overMemory: (largest) => named.push(largest?.name ?? '') })
    t.after(() => factory.close())
    const probe = new Probe(factory, handler(`return new Response('on')`))
    await probe.sandbox.ready
    assert.equal(await probe.get(), 'on')
    const [pid] = factory.pids
    await probe.until(() => probe.retired === 1)
    assert.deepEqual(named, ['test/function'])
    assert.equal(await probe.get(), 'on', 'it goes on until it is given up')
    const next = new Probe(factory, handler(`return new Response('next')`))
    await next.sandbox.ready
    assert.notEqual(factory.pids.at(-1), pid)
    probe.sandbox.dispose()
    await eventually('the old one is gone', () => isGone(pid!))
    next.sandbox.dispose()
  })

  test('over its soft bound gives up what is largest, one after the other, and lives on', async (t) => {
    const factory = new CellFactory({ egress, log, memory: { soft: 1, hard: Infinity } })
    t.after(() => factory.close())
    const probe = new Probe(factory, handler(`return new Response('on')`))
    await probe.sandbox.ready
    const [pid] = factory.pids
    await probe.until(() => probe.retired > 0)
    probe.sandbox.dispose()
    const next = new Probe(factory, handler(`return new Response('next')`))
    await next.sandbox.ready
    assert.deepEqual(factory.pids, [pid])
    next.sandbox.dispose()
  })

  test('takes so many isolates and no more: the next ones are in another', async (t) => {
    const factory = new CellFactory({ egress, log, maxIsolates: 2 })
    t.after(() => factory.close())
    const probes = Array.from({ length: 3 }, () => new Probe(factory, handler(`return new Response('on')`)))
    await Promise.all(probes.map(({ sandbox }) => sandbox.ready))
    assert.equal(factory.pids.length, 2)
    for (const { sandbox } of probes) sandbox.dispose()
  })

  test('that holds nothing for a minute is ended, and the next sandbox has another', async (t) => {
    const clock = new FakeClock()
    const factory = new CellFactory({ egress, log, clock })
    t.after(() => factory.close())
    factory.warm()
    factory.warm()
    assert.equal(factory.size, 1)
    const probe = new Probe(factory, handler(`return new Response('on')`))
    await probe.sandbox.ready
    const [pid] = factory.pids
    await clock.pass(10_000)
    assert.equal(factory.size, 1, 'not while it holds something')
    probe.sandbox.dispose()
    await clock.pass(59_000)
    assert.equal(factory.size, 1)
    await clock.pass(1_000)
    await eventually('it is gone', () => isGone(pid!))
    await eventually('and forgotten', async () => factory.size === 0)
    const next = new Probe(factory, handler(`return new Response('next')`))
    await next.sandbox.ready
    next.sandbox.dispose()
  })

  test('is offered to the kernel before its parent, and a gentle one gives way to others', async (t) => {
    const factory = new CellFactory({ egress, log, gentle: true })
    t.after(() => factory.close())
    const probe = new Probe(factory, handler(`return new Response('on')`))
    await probe.sandbox.ready
    const [pid] = factory.pids
    if (process.platform === 'linux') {
      assert.equal(readFileSync(`/proc/${pid!}/oom_score_adj`, 'utf8').trim(), '500')
      assert.equal(getPriority(pid), Math.min(19, getPriority() + 10))
    }
    probe.sandbox.dispose()
  })
})
