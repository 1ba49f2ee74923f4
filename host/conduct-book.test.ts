import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ConductRecord, OffenceKind } from './conduct.ts'
import { ConductBook } from './conduct-book.ts'

const SETTINGS = { probation: { events: 20, seconds: 2 }, quarantine: { seconds: 10, mostSeconds: 3_600 } }
const NAME = 'acme/f'

function openBook(records?: ConductRecord[], settings = SETTINGS) {
  const time = { now: 1_700_000_000_000 }
  const book = new ConductBook(settings, { now: () => time.now, ...(records === undefined ? {} : { records }) })
  const changes: string[] = []
  book.watch(({ version, standing }) => changes.push(`${version} ${standing.state}`))
  const offend = (kind: OffenceKind, rest: { alone?: boolean; killed?: boolean; version?: string } = {}) =>
    book.offence(NAME, rest.version ?? '1', { kind, message: 'a test', alone: rest.alone ?? false, killed: rest.killed ?? false })
  const state = (version = '1') => book.standing(NAME, version).state
  const pass = (seconds: number) => (time.now += seconds * 1000)
  /** Asked for, and answered well. */
  const run = (events: number, version = '1', cpuMs = 0) => {
    assert.equal(book.ask(NAME, version), undefined)
    book.ran(NAME, version, events, cpuMs)
  }
  const trust = () => {
    run(20)
    pass(3)
    run(1)
    assert.equal(state(), 'trusted')
  }
  return { time, book, changes, offend, state, pass, run, trust }
}

test('probation ends after enough clean events, and not before its time', () => {
  const { state, pass, run } = openBook()
  run(19)
  pass(3)
  assert.equal(state(), 'probation')
  run(1)
  assert.equal(state(), 'trusted')
  run(500, '2')
  assert.equal(state('2'), 'probation')
  pass(2)
  run(1, '2')
  assert.equal(state('2'), 'trusted')
})

test('without probation a version is trusted from the start', () => {
  const { state } = openBook([], { ...SETTINGS, probation: { events: 0, seconds: 0 } })
  assert.equal(state(), 'trusted')
})

for (const kind of ['unstoppable', 'catastrophic', 'bad_guest'] as const) {
  test(`${kind} is followed by quarantine at once, and by a longer one each time`, async () => {
    const { book, trust, offend, state, pass, changes } = openBook()
    trust()
    let pause = 10
    for (let count = 1; count <= 12; count++) {
      offend(kind)
      assert.equal(state(), 'quarantined')
      assert.deepEqual(book.refusal(NAME, '1'), { seconds: pause })
      await assert.rejects(book.admit(NAME, '1'), { code: 'quarantined', details: { retryAfter: pause } })
      pass(pause - 1)
      assert.deepEqual(book.ask(NAME, '1'), { seconds: 1 })
      pass(1)
      assert.equal(book.refusal(NAME, '1'), undefined)
      assert.equal(book.ask(NAME, '1'), undefined)
      assert.equal(state(), 'half_open')
      pause = Math.min(3_600, pause * 2)
    }
    assert.equal(changes.length, 1 + 24)
  })
}

test('a try is given to one; others have to wait for how it goes', () => {
  const { book, offend, state, pass } = openBook()
  offend('unstoppable')
  pass(10)
  assert.equal(book.ask(NAME, '1'), undefined)
  assert.deepEqual(book.ask(NAME, '1'), { seconds: 1 })
  assert.deepEqual(book.refusal(NAME, '1'), { seconds: 1 })
  book.abandoned(NAME, '1')
  assert.equal(state(), 'quarantined')
  assert.equal(book.ask(NAME, '1'), undefined, 'one that came to nothing frees it for the next')
  pass(61)
  assert.equal(book.ask(NAME, '1'), undefined, 'and one that nobody heard of again')
})

test('a try that goes well leads back by way of a process of its own and probation; the level is then forgotten', () => {
  const { book, offend, state, pass, run } = openBook()
  offend('unstoppable')
  pass(10)
  run(1)
  assert.equal(state(), 'suspected')
  run(20)
  assert.equal(state(), 'probation')
  pass(3)
  run(20)
  assert.equal(state(), 'trusted')
  offend('unstoppable')
  assert.deepEqual(book.refusal(NAME, '1'), { seconds: 10 })
})

test('before it is trusted again, the next offence counts on', () => {
  const { book, offend, pass, run } = openBook()
  offend('unstoppable')
  pass(10)
  run(1)
  offend('catastrophic')
  assert.deepEqual(book.refusal(NAME, '1'), { seconds: 20 })
})

test('limits that hurt only itself are forgiven now and then, and not one after the other', () => {
  const { offend, state, pass, trust } = openBook()
  trust()
  for (let count = 0; count < 500; count++) {
    offend('cpu_exceeded')
    pass(1)
  }
  assert.equal(state(), 'trusted')
  for (let count = 0; count < 21; count++) offend('memory_exceeded')
  assert.equal(state(), 'quarantined')
})

test('what ran in a process that was lost is suspected, and kept alone until it is proven', () => {
  const { offend, state, run, trust } = openBook()
  trust()
  offend('process_lost')
  assert.equal(state(), 'suspected')
  run(19)
  assert.equal(state(), 'suspected')
  run(1)
  assert.equal(state(), 'trusted')
  offend('process_lost')
  offend('process_lost')
  assert.equal(state(), 'suspected', 'never proven while others ran there too')
  offend('process_lost', { alone: true })
  assert.equal(state(), 'quarantined')
})

test('a process killed from outside is a coincidence once', () => {
  const { offend, state, pass, trust } = openBook()
  trust()
  offend('process_lost', { alone: true, killed: true })
  assert.equal(state(), 'suspected')
  pass(700)
  offend('process_lost', { alone: true, killed: true })
  assert.equal(state(), 'suspected')
  offend('process_lost', { alone: true, killed: true })
  assert.equal(state(), 'quarantined')
})

test('a new version of a function in quarantine is tried at once, a few times', () => {
  const { book, offend, state } = openBook()
  offend('unstoppable')
  for (const version of ['2', '3', '4']) {
    assert.equal(book.ask(NAME, version), undefined)
    assert.equal(state(version), 'half_open')
    offend('unstoppable', { version })
    assert.ok(book.refusal(NAME, version)!.seconds >= 20, 'and inherits how often this has happened')
  }
  assert.ok(book.ask(NAME, '5')!.seconds > 1)
  assert.equal(state('5'), 'quarantined')
  assert.equal(book.ask('acme/other', '1'), undefined)
  assert.equal(book.standing('acme/other', '1').state, 'probation')
})

test('a release makes the next event a try', () => {
  const { book, offend, state } = openBook()
  offend('unstoppable')
  offend('unstoppable', { version: '2' })
  assert.equal(book.release('acme/other'), false)
  assert.equal(book.release(NAME), true)
  assert.equal(book.ask(NAME, '1'), undefined)
  assert.equal(book.ask(NAME, '2'), undefined)
  book.ran(NAME, '1', 1, 1)
  assert.equal(state(), 'suspected')
  book.ran(NAME, '2', 1, 1)
  assert.equal(book.release(NAME), false)
})

test('costly events are noticed, with some patience either way', () => {
  const { book, run } = openBook()
  const costly = () => book.standing(NAME, '1').costly
  run(25, '1', 25 * 30)
  assert.equal(costly(), true)
  run(25, '1', 25 * 7)
  assert.equal(costly(), true)
  for (let count = 0; count < 20; count++) run(25, '1', 25)
  assert.equal(costly(), false)
})

test('checks of uploads are never refused: one that harmed others is done alone', () => {
  const { book, offend, state, pass } = openBook()
  offend('unstoppable', { version: '' })
  assert.equal(state(''), 'suspected')
  assert.equal(book.ask(NAME, ''), undefined)
  assert.equal(book.standing(NAME, '2').state, 'probation')
  assert.equal(book.ask(NAME, '2'), undefined)
  assert.equal(state('2'), 'probation')
  pass(3_601)
  assert.equal(book.ask(NAME, ''), undefined)
  assert.equal(state(''), 'probation')
})

test('what was remembered holds after a restart; a clock that was set back imprisons nobody', () => {
  const before = openBook()
  before.offend('unstoppable')
  const after = openBook(structuredClone(before.book.records()))
  assert.deepEqual(after.book.refusal(NAME, '1'), { seconds: 10 })
  after.pass(-86_400)
  assert.deepEqual(after.book.refusal(NAME, '1'), { seconds: 10 })
  after.pass(11)
  assert.equal(after.book.refusal(NAME, '1'), undefined)
  assert.equal(after.book.records()[0]!.offences[0]!.message, 'a test')
})

test('it remembers a bounded number of versions, those in quarantine the longest', () => {
  const { book, offend, state } = openBook()
  offend('unstoppable')
  for (let count = 0; count < 25_000; count++) book.ran(`acme/f${count}`, '1', 1, 1)
  assert.ok(book.records().length <= 15_000)
  assert.equal(state(), 'quarantined')
})
