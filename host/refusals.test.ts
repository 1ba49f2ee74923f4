import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Refusals } from './refusals.ts'
import { FakeClock } from './test-support/clock.ts'

function open() {
  const clock = new FakeClock()
  const refusals = new Refusals(clock)
  const sent: string[] = []
  return {
    clock,
    refusals,
    sent,
    send: (code: 'overloaded' | 'timeout', name: string) => refusals.send(code, () => sent.push(name)),
  }
}

test('refusals wait, each for its time and in order; other errors do not', async () => {
  const { clock, sent, send } = open()
  send('overloaded', 'first')
  send('timeout', 'an error')
  await clock.pass(60)
  send('overloaded', 'second')
  assert.deepEqual(sent, ['an error'])
  await clock.pass(45)
  assert.deepEqual(sent, ['an error', 'first'])
  await clock.pass(60)
  assert.deepEqual(sent, ['an error', 'first', 'second'])
  send('overloaded', 'third')
  await clock.pass(105)
  assert.equal(sent.at(-1), 'third')
})

test('one that answers by being refused again waits again', async () => {
  const { clock, refusals, sent } = open()
  refusals.send('overloaded', () => refusals.send('overloaded', () => sent.push('again')))
  await clock.pass(105)
  assert.deepEqual(sent, [])
  await clock.pass(105)
  assert.deepEqual(sent, ['again'])
})

test('so many wait and no more; closing sends all, and later ones at once', async () => {
  const { refusals, sent, send } = open()
  for (let i = 0; i < 10_000; i++) send('overloaded', '')
  assert.equal(sent.length, 0)
  send('overloaded', 'one more')
  assert.deepEqual(sent, ['one more'])
  refusals.close()
  assert.equal(sent.length, 10_001)
  send('overloaded', 'late')
  assert.equal(sent.at(-1), 'late')
})
