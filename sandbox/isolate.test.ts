import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { fetchMessage, Probe } from '../test/sandbox/probe.ts'
import { EnforcedLimits } from './enforced-limits.ts'
import { IsolateSandbox } from './isolate.ts'
import { Lanes } from './lanes.ts'
import type { LimitEnforcer } from './limit-enforcer.ts'
import { Network } from './operations/network.ts'
import { Emit, Submit } from './protocol.ts'
import type { Sandbox, SandboxFactory, Taint } from './sandbox.ts'
import { FakeEngine } from './test-support/engine.ts'
import { RecordingLimits, TrippingLimits } from './test-support/limits.ts'

/** A sandbox around an isolate in which nothing runs. */
async function open(limits: LimitEnforcer = new RecordingLimits()) {
  const engine = new FakeEngine()
  const taints: Taint[] = []
  const network = new Network({ allow: [], deny: [] })
  const context = {
    ...{ engine, network, lanes: new Lanes(2), live: new Set<Sandbox>(), createLimits: () => limits },
    tainted: (taint: Taint) => void taints.push(taint),
  }
  const factory: SandboxFactory = {
    placement: 'inline',
    create: (spec, observer) => new IsolateSandbox(context, spec, observer),
    close: async () => {},
  }
  const probe = new Probe(factory, '')
  await probe.sandbox.ready
  const isolate = engine.made[0]!
  /** Dispatches events 1 to `count` in one batch. */
  const enter = async (count: number) => {
    const events = Array.from({ length: count }, (_, i) => i + 1)
    probe.sandbox.dispatch(events.flatMap((event) => fetchMessage(event, '/')))
    await new Promise(setImmediate)
  }
  return { probe, isolate, taints, enter }
}

const BREACH = { code: 'cpu_exceeded', message: 'too much' } as const

suite('an isolate’s sandbox and what enforces its limits', () => {
  test('it tells of each step in order, and asks for nothing while the isolate runs', async () => {
    const limits = new RecordingLimits()
    const { probe, isolate, enter } = await open(limits)
    assert.equal(isolate.options.heapMb, limits.heapMb)
    assert.deepEqual(limits.names, ['starting', 'enter', 'leave', 'memory', 'started'])
    limits.calls.length = 0
    isolate.cpuMs = 3
    isolate.bytes = 5
    await enter(2)
    assert.deepEqual(limits.names, ['eventBegan', 'eventBegan', 'enter'])
    isolate.emit(Emit.done, 1, Emit.done, 2)
    await isolate.end()
    assert.deepEqual(limits.calls.slice(3), [
      ['eventEnded', 1],
      ['eventEnded', 2],
      ['leave', 3],
      ['memory', 5, false],
      ['report'],
    ])
    assert.equal(probe.reports.length, 1)
  })

  test('a breach ends it: after an entry no event of the batch can be run again, what waits can', async () => {
    const limits = new TrippingLimits()
    const { probe, isolate, enter } = await open(limits)
    await enter(2)
    probe.send('/', { event: 3 })
    limits.next.leave = BREACH
    await isolate.end()
    assert.deepEqual(probe.failures, [{ ...BREACH, notBegun: [3], cpuMs: 0 }])
    assert.ok(isolate.isDisposed)
  })

  test('memory: garbage is looked for when asked, a retired isolate goes on', async () => {
    const limits = new TrippingLimits()
    const { probe, isolate, enter } = await open(limits)
    limits.next.memory = ['collect', 'retire']
    await enter(1)
    await isolate.end()
    assert.equal(isolate.collections, 1)
    assert.deepEqual([probe.retired, probe.failures, probe.reports.length], [1, [], 1])
    limits.next.memory = ['collect', { code: 'memory_exceeded', message: 'full' }]
    await enter(1)
    await isolate.end()
    assert.deepEqual(probe.failures, [{ code: 'memory_exceeded', message: 'full', notBegun: [], cpuMs: 0 }])
  })

  for (const [kind, code] of [
    ['timeout', 'cpu_exceeded'],
    ['memory', 'memory_exceeded'],
    ['disposed', 'memory_exceeded'],
  ] as const) {
    test(`an entry that V8 ends (${kind}): events that had not begun are named`, async () => {
      const { probe, isolate, enter } = await open()
      await enter(4)
      isolate.begun = 2
      await isolate.end({ kind })
      assert.equal(probe.failures[0]!.code, code)
      assert.deepEqual(probe.failures[0]!.notBegun, [3, 4])
    })
  }

  test('an entry that never ends taints the process, and says who did it', async () => {
    const limits = new TrippingLimits()
    const { probe, isolate, taints, enter } = await open(limits)
    limits.next.watch = BREACH
    isolate.begun = 1
    await enter(3)
    const { code, notBegun } = await probe.failure()
    assert.deepEqual([code, notBegun], ['cpu_exceeded', [2, 3]])
    // It is looked whether it ends with its isolate. V8 says so itself some seconds later.
    await new Promise(setImmediate)
    isolate.options.onCatastrophicError('Script failed to terminate')
    assert.deepEqual(taints, [{ name: 'test/function', version: '1'.repeat(16), kind: 'unstoppable', message: 'too much' }])
  })

  test('an isolate that is lost while V8 looks for garbage is given up like any other', async () => {
    const limits = new TrippingLimits()
    const { probe, isolate, taints, enter } = await open(limits)
    isolate.collecting = new Promise(() => {})
    limits.next.memory = ['collect']
    await enter(2)
    await isolate.end()
    limits.next.watch = BREACH
    const { code, notBegun } = await probe.failure()
    while (taints.length === 0) await new Promise(setImmediate)
    assert.deepEqual([code, notBegun, taints[0]!.kind], ['cpu_exceeded', [], 'unstoppable'])
    assert.ok(limits.names.includes('enterForHost'))
  })

  for (const [message, kind, code] of [
    ['Catastrophic out-of-memory error', 'catastrophic', 'memory_exceeded'],
    ['Script failed to terminate', 'unstoppable', 'cpu_exceeded'],
  ] as const) {
    test(`V8 gives an isolate up (${kind}): the process is tainted, events that had not begun are named`, async () => {
      const { probe, isolate, taints, enter } = await open()
      await enter(3)
      probe.send('/', { event: 4 })
      isolate.begun = 2
      isolate.options.onCatastrophicError(message)
      assert.deepEqual([probe.failures[0]!.code, probe.failures[0]!.notBegun], [code, [3, 4]])
      assert.deepEqual([taints.length, taints[0]!.kind], [1, kind])
    })
  }

  for (const [begun, notBegun] of [
    [-7, [1, 2]],
    [0, [1, 2]],
    [2, []],
    [2_000_000_000, []],
  ] as [number, number[]][]) {
    test(`a guest that says that ${begun} of two events had begun`, async () => {
      const { probe, isolate, enter } = await open()
      await enter(2)
      isolate.begun = begun
      await isolate.end({ kind: 'memory' })
      assert.deepEqual(probe.failures[0]!.notBegun, notBegun)
    })
  }

  test('what is no batch is the tenant’s failure', async () => {
    const { probe, isolate, enter } = await open()
    await enter(2)
    isolate.begun = 1
    isolate.emit(Emit.response, 1, 'two hundred', [], null)
    const [failure] = probe.failures
    assert.deepEqual([failure!.code, failure!.notBegun], ['bad_guest', [2]])
    assert.match(failure!.message, /broke the protocol/)
    isolate.emit(Emit.response, 1, 200, [], null)
    assert.equal(probe.messages.length, 0)
  })

  test('a fault of our own is `internal`, and leaves nothing behind', async () => {
    const limits = new RecordingLimits()
    const { probe, isolate, enter } = await open(limits)
    limits.leave = () => {
      throw new Error('a bug')
    }
    await enter(1)
    await isolate.end()
    assert.equal(probe.failures[0]!.code, 'internal')
    assert.ok(isolate.isDisposed)
  })

  test('CPU time that falls back is neither given back nor counted twice', async () => {
    const { probe, isolate, enter } = await open(new EnforcedLimits({ cpuMs: 100, startMs: 100, wallMs: 10_000, memoryMb: 64 }))
    const reported: number[] = []
    for (const cpuMs of [10, 30, 25, 29, 36]) {
      await enter(1)
      isolate.cpuMs = cpuMs
      isolate.emit(Emit.done, 1)
      await isolate.end()
      reported.push(probe.reports.at(-1)!.cpuMs)
    }
    assert.deepEqual(reported, [10, 20, 0, 0, 6])
  })

  test('a reading ahead of the CPU time is no breach: the exact one is asked for', async () => {
    const { probe, isolate, enter } = await open(new EnforcedLimits({ cpuMs: 100, startMs: 100, wallMs: 10_000, memoryMb: 64 }))
    await enter(1)
    isolate.cpuMs = 500
    isolate.restedMs = 60
    await isolate.end()
    assert.deepEqual([probe.failures, probe.reports.at(-1)!.cpuMs], [[], 60])
    probe.sandbox.dispatch([Submit.credit, 1, 1])
    isolate.cpuMs = isolate.restedMs = 101
    await isolate.end()
    assert.equal((await probe.failure()).code, 'cpu_exceeded')
  })

  test('an event pays for all of its entries, and for no other’s', async () => {
    const { probe, isolate, enter } = await open(new EnforcedLimits({ cpuMs: 100, startMs: 100, wallMs: 10_000, memoryMb: 64 }))
    for (let i = 1; i <= 5; i++) {
      await enter(1)
      isolate.cpuMs += 90
      isolate.emit(Emit.done, 1)
      await isolate.end()
    }
    assert.deepEqual(probe.failures, [])
    await enter(1)
    isolate.cpuMs += 60
    await isolate.end()
    probe.sandbox.dispatch([Submit.credit, 1, 1])
    isolate.cpuMs += 60
    await isolate.end()
    assert.equal((await probe.failure()).code, 'cpu_exceeded')
  })
})
