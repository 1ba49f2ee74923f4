import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Heartbeat } from './heartbeat.ts'
import { FakeClock } from './test-support/clock.ts'

/** A child that answers, or does not. */
function watch() {
  const clock = new FakeClock()
  const child = { answers: true, beats: 0, hung: 0 }
  const heart: Heartbeat = new Heartbeat({
    clock,
    beat() {
      child.beats++
      if (child.answers) heart.answered()
    },
    hung: () => child.hung++,
  })
  return { clock, child, heart }
}

test('a child that answers is left alone', async () => {
  const { clock, child } = watch()
  await clock.pass(60_000)
  assert.deepEqual([child.beats, child.hung], [60, 0])
})

test('one that does not answer for long is told of once', async () => {
  const { clock, child } = watch()
  await clock.pass(5_000)
  child.answers = false
  await clock.pass(14_000)
  assert.equal(child.hung, 0)
  await clock.pass(60_000)
  assert.equal(child.hung, 1)
})

test('one late answer is enough', async () => {
  const { clock, child, heart } = watch()
  child.answers = false
  for (let count = 0; count < 10; count++) {
    await clock.pass(14_000)
    heart.answered()
  }
  assert.equal(child.hung, 0)
})

test('a parent that was stopped itself blames nobody: one beat is due then, however long it took', async () => {
  const { clock, child } = watch()
  child.answers = false
  await clock.pass(2_000)
  const beats = child.beats
  // Its timers fire once when it goes on.
  assert.equal(beats, 2)
  child.answers = true
  await clock.pass(60_000)
  assert.equal(child.hung, 0)
})

test('nothing beats after the stop', async () => {
  const { clock, child, heart } = watch()
  await clock.pass(1_000)
  heart.stop()
  await clock.pass(60_000)
  assert.equal(child.beats, 1)
})
