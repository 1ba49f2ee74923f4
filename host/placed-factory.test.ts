/** Placement with real cells: who is where, and who moves. */
import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { handler } from '../test/sandbox/probe.ts'

import type { Limits } from '../sandbox/limits.ts'
import type { Sandbox, SandboxObserver, SandboxSpec } from '../sandbox/sandbox.ts'
import { Emit } from '../sandbox/protocol.ts'
import { ConductBook } from './conduct-book.ts'
import type { OffenceKind } from './conduct.ts'
import { silentLog } from './log.ts'
import { PlacedFactory } from './placed-factory.ts'
import type { PlacedFactoryOptions } from './placed-factory.ts'
import { turn } from './test-support/clock.ts'
import { FakeFactory, specOf } from './test-support/sandbox.ts'

const SETTINGS = { probation: { events: 2, seconds: 0 }, quarantine: { seconds: 10, mostSeconds: 3_600 } }

/** What a sandbox tells the pool. */
class Observer implements SandboxObserver {
  readonly heard: string[] = []
  #waiters: { word: string; resolve: () => void }[] = []

  emit = () => this.#hear('emit')
  settled = () => this.#hear('settled')
  retire = () => this.#hear('retire')
  move = () => this.#hear('move')
  ended = ({ code }: { code: string }) => this.#hear(`ended ${code}`)

  /** Once it is heard; a test that waits in vain ends by its time limit. */
  until(word: string): Promise<void> {
    if (this.heard.includes(word)) return Promise.resolve()
    return new Promise((resolve) => this.#waiters.push({ word, resolve }))
  }

  #hear(word: string): void {
    this.heard.push(word)
    for (const waiter of this.#waiters) if (waiter.word === word) waiter.resolve()
  }
}

function open(options: Partial<PlacedFactoryOptions> = {}, settings = SETTINGS) {
  const book = new ConductBook(settings)
  const inline = new FakeFactory()
  const factory = new PlacedFactory({
    ...{ placement: 'adaptive', egress: { allow: [], deny: [] }, log: silentLog(), conduct: book, inline },
    ...options,
  })
  const create = (name: string, rest: Partial<SandboxSpec> = {}, limits: Partial<Limits> = {}) => {
    const observer = new Observer()
    const code = handler(`return new Response('ok')`)
    const bundle = { code, async: false, modules: {}, sourceMap: '', nodejs: false }
    const sandbox = factory.create({ ...specOf(name, limits), bundle, ...rest }, observer)
    return { sandbox, observer }
  }
  const offend = (name: string, kind: OffenceKind) =>
    book.offence(name, '1'.repeat(16), { kind, message: 'a test', alone: false })
  return { book, inline, factory, create, offend }
}

const NO_PROBATION = { ...SETTINGS, probation: { events: 0, seconds: 0 } }

test('a trusted function is inline, and its events are counted there', () => {
  const { inline, create, book } = open({}, NO_PROBATION)
  const { sandbox, observer } = create('acme/f')
  assert.equal(inline.made.length, 1)
  sandbox.dispatch([])
  inline.last.emit(Emit.done, 1)
  inline.last.settle({ cpuMs: 1 })
  assert.deepEqual(observer.heard, ['emit', 'settled'])
  sandbox.dispose()
  assert.equal(book.recordsOf('acme/f').length, 1)
})

for (const [code, kind, state] of [
  ['cpu_exceeded', 'cpu_exceeded', 'trusted'],
  ['memory_exceeded', 'memory_exceeded', 'trusted'],
  ['bad_guest', 'bad_guest', 'quarantined'],
] as const) {
  test(`${code} of a sandbox is the offence ${kind}`, () => {
    const { inline, create, book } = open({}, NO_PROBATION)
    const { sandbox, observer } = create('acme/f')
    sandbox.dispatch([])
    inline.last.end(code)
    const [record] = book.recordsOf('acme/f')
    assert.deepEqual(record!.counts, { [kind]: 1 })
    assert.equal(record!.state, state)
    assert.deepEqual(observer.heard, [`ended ${code}`])
  })
}

test('a lost process is an offence of what ran in it, and not of what was at rest', async () => {
  const { inline, create, book } = open({}, NO_PROBATION)
  const busy = create('acme/busy')
  busy.sandbox.dispatch([])
  const [first] = inline.made
  create('acme/resting')
  // They have loaded.
  await turn()
  first!.end('worker_lost')
  inline.last.end('worker_lost')
  assert.deepEqual(book.recordsOf('acme/busy')[0]?.state, 'suspected')
  assert.deepEqual(book.recordsOf('acme/resting'), [])
})

test('quarantine elsewhere retires what is loaded here', () => {
  const { create, offend } = open({}, NO_PROBATION)
  const one = create('acme/f')
  const other = create('acme/g')
  offend('acme/f', 'unstoppable')
  assert.deepEqual(one.observer.heard, ['retire'])
  assert.deepEqual(other.observer.heard, [])
})

test('suspicion moves what is inline into a process of its own', () => {
  const { create, offend } = open({}, NO_PROBATION)
  const { observer } = create('acme/f')
  offend('acme/f', 'process_lost')
  assert.deepEqual(observer.heard, ['move'])
})

test('who is at work inline is told at each load and when it changes', async () => {
  const told: string[][] = []
  const { inline, create } = open({ active: (versions) => told.push(versions.map(({ name }) => name)) }, NO_PROBATION)
  const { sandbox } = create('acme/f')
  assert.deepEqual(told, [['acme/f']])
  create('acme/g')
  assert.deepEqual(told.at(-1), ['acme/f', 'acme/g'])
  await sandbox.ready
  const quiet = Promise.withResolvers<void>()
  const watch = setInterval(() => told.at(-1)!.length === 0 && quiet.resolve(), 5)
  await quiet.promise
  clearInterval(watch)
  sandbox.dispatch([])
  assert.deepEqual(told.at(-1), [], 'at most every quarter of a second')
  const later = setInterval(() => told.at(-1)!.length === 1 && busy.resolve(), 5)
  const busy = Promise.withResolvers<void>()
  await busy.promise
  clearInterval(later)
  assert.deepEqual(told.at(-1), ['acme/f'])
  inline.made[0]!.settle()
})

suite('with cells', { timeout: 60_000 }, () => {
  let host: ReturnType<typeof open>
  before(() => {
    host = open()
  })
  after(() => host.factory.close())

  test('a new version runs in the probation cell, which may be started before it is asked for, and then moves inline', async () => {
    const { factory, create, inline, book } = host
    factory.warm('default')
    factory.warm('default')
    assert.equal(factory.counts().probation, 1)
    const { sandbox, observer } = create('acme/f')
    await sandbox.ready
    assert.equal(factory.counts().probation, 1)
    assert.equal(inline.made.length, 0)
    book.ran('acme/f', '1'.repeat(16), 2, 1)
    await observer.until('move')
    const moved = create('acme/f')
    assert.equal(inline.made.length, 1)
    moved.sandbox.dispose()
    sandbox.dispose()
  })

  test('cordons have processes of their own, and so have those with large limits', async () => {
    const { factory, create, book } = host
    for (const name of ['acme/g', 'paid/g', 'acme/large']) book.ran(name, '1'.repeat(16), 2, 1)
    const paid = create('paid/g', { cordon: 'paid' })
    const large = create('acme/large', {}, { memoryMb: 256 })
    const asked = create('acme/g', { placement: 'solo' })
    await Promise.all([paid, large, asked].map(({ sandbox }) => sandbox.ready))
    const { cell, solo } = factory.counts()
    assert.deepEqual([cell, solo], [2, 1])
    for (const { sandbox } of [paid, large, asked]) sandbox.dispose()
  })
})

suite('suspects', { timeout: 60_000 }, () => {
  test('beyond the processes that there may be, suspects share one and a try has to wait', async () => {
    const { factory, create, offend, book } = open()
    const made: Sandbox[] = []
    for (let count = 0; count < 10; count++) {
      offend(`acme/f${count}`, 'process_lost')
      made.push(create(`acme/f${count}`).sandbox)
    }
    assert.deepEqual([factory.counts().solo, factory.counts().suspects], [8, 1])
    offend('acme/tried', 'unstoppable')
    book.release('acme/tried')
    await book.admit('acme/tried', '1'.repeat(16))
    assert.throws(() => create('acme/tried'), { code: 'saturated' })
    assert.equal(book.standing('acme/tried', '1'.repeat(16)).state, 'quarantined')
    assert.equal(book.refusal('acme/tried', '1'.repeat(16)), undefined, 'and may be asked for again')
    for (const sandbox of made) sandbox.dispose()
    await book.admit('acme/tried', '1'.repeat(16))
    create('acme/tried')
    await factory.close()
  })
})
