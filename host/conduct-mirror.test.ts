import assert from 'node:assert/strict'
import { test } from 'node:test'
import { changeOf, ConductBook } from './conduct-book.ts'
import { ConductMirror } from './conduct-mirror.ts'
import type { ConductAnswer, ConductMessage } from './conduct-mirror.ts'
import { configSchema } from './config.ts'

const NAME = 'acme/f'

/** A keeper with two workers, between which messages take no time. */
function openHost() {
  const time = { now: 1_700_000_000_000 }
  const book = new ConductBook(configSchema.parse({}), { now: () => time.now })
  const sent: ConductMessage[] = []
  const mirrors: ConductMirror[] = []
  const open = () => {
    const mirror: ConductMirror = new ConductMirror(
      (message) => {
        sent.push(message)
        receive(mirror, message)
      },
      () => time.now,
    )
    mirrors.push(mirror)
    return mirror
  }
  const receive = (mirror: ConductMirror, message: ConductMessage) => {
    if (message.type === 'ran')
      for (const { name, version, clean, cpuMs } of message.reports) book.ran(name, version, clean, cpuMs)
    else if (message.type === 'offence') book.offence(message.name, message.version, message.report)
    else if (message.type === 'abandoned') book.abandoned(message.name, message.version)
    else {
      const refusal = book.ask(message.name, message.version)
      const record = book.recordsOf(message.name).find(({ version }) => version === message.version)!
      // As a message travels, so that nothing of the book is shared.
      const answer: ConductAnswer = { type: 'admitted', id: message.id, change: changeOf(record), refusal }
      queueMicrotask(() => mirror.receive(structuredClone(answer)))
    }
  }
  book.watch((change) => {
    for (const mirror of mirrors) mirror.receive({ type: 'standing', changes: [structuredClone(change)] })
  })
  const offence = { kind: 'unstoppable', message: 'a test', alone: false } as const
  return { time, book, one: open(), other: open(), sent, offence, pass: (seconds: number) => (time.now += seconds * 1000) }
}

test('what one worker reports, all of them know', async () => {
  const { one, other, offence } = openHost()
  await one.admit(NAME, '1')
  one.offence(NAME, '1', offence)
  for (const mirror of [one, other]) {
    assert.deepEqual(mirror.refusal(NAME, '1'), { seconds: 10 })
    assert.equal(mirror.standing(NAME, '1').state, 'quarantined')
  }
})

test('a worker asks once for what it does not know', async () => {
  const { one, sent } = openHost()
  for (let count = 0; count < 5; count++) await one.admit(NAME, '1')
  assert.deepEqual(
    sent.map(({ type }) => type),
    ['ask'],
  )
})

test('the try goes to one worker alone, and its good end is known to all at once', async () => {
  const { one, other, offence, pass } = openHost()
  await one.admit(NAME, '1')
  one.offence(NAME, '1', offence)
  pass(10)
  const both = await Promise.allSettled([one.admit(NAME, '1'), other.admit(NAME, '1')])
  assert.deepEqual(
    both.map(({ status }) => status),
    ['fulfilled', 'rejected'],
  )
  assert.deepEqual([one.isProbe(NAME, '1'), other.isProbe(NAME, '1')], [true, false])
  assert.deepEqual(one.refusal(NAME, '1'), { seconds: 1 }, 'no second event follows')
  one.ran(NAME, '1', 1, 3)
  for (const mirror of [one, other]) {
    assert.equal(mirror.standing(NAME, '1').state, 'suspected')
    assert.equal(mirror.isProbe(NAME, '1'), false)
  }
  await other.admit(NAME, '1')
})

test('code that cannot be stopped gets no further event in its worker, although the keeper has not spoken yet', () => {
  const sent: ConductMessage[] = []
  const mirror = new ConductMirror((message) => sent.push(message))
  const changes: string[] = []
  mirror.watch(({ standing }) => changes.push(standing.state))
  mirror.offence(NAME, '1', { kind: 'catastrophic', message: 'a test', alone: false })
  assert.ok(mirror.refusal(NAME, '1') !== undefined)
  assert.deepEqual(changes, ['quarantined'])
  mirror.offence('acme/g', '1', { kind: 'cpu_exceeded', message: 'a test', alone: false })
  assert.equal(mirror.refusal('acme/g', '1'), undefined)
  assert.equal(sent.length, 2)
})

test('clean events are reported in batches', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const sent: ConductMessage[] = []
  const mirror = new ConductMirror((message) => sent.push(message))
  for (let count = 0; count < 100; count++) mirror.ran(NAME, '1', 1, 0.5)
  assert.deepEqual(sent, [])
  t.mock.timers.tick(100)
  assert.deepEqual(sent, [{ type: 'ran', reports: [{ name: NAME, version: '1', clean: 100, cpuMs: 50 }] }])
})

test('a keeper that does not answer holds nothing up for ever: the unknown may run, the offender not', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const mirror = new ConductMirror(() => {})
  const unknown = mirror.admit(NAME, '1')
  t.mock.timers.tick(5_000)
  await unknown
  assert.equal(mirror.standing(NAME, '1').state, 'probation')
  const standing = { state: 'quarantined', costly: false } as const
  mirror.receive({ type: 'standing', changes: [{ name: NAME, version: '2', standing, until: 0 }] })
  const offender = mirror.admit(NAME, '2')
  t.mock.timers.tick(5_000)
  await assert.rejects(offender, { code: 'quarantined' })
})

test('a clock that is set back prolongs no quarantine', async () => {
  const { one: mirror, book, time, offence } = openHost()
  book.offence(NAME, '1', offence)
  await assert.rejects(mirror.admit(NAME, '1'), { code: 'quarantined' })
  time.now -= 7 * 3_600_000
  await assert.rejects(mirror.admit(NAME, '1'), { code: 'quarantined' })
  time.now += 11_000
  assert.equal(mirror.refusal(NAME, '1'), undefined)
  await mirror.admit(NAME, '1')
})
