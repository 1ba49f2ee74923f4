import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Stretch } from './stretch.ts'

test('a machine with cores to spare stretches nothing', () => {
  const stretch = new Stretch(() => 0.3)
  assert.equal(stretch.factor(0), 1)
  stretch.ran(50, 49, 0)
  assert.ok(stretch.factor(1) < 1.05)
})

test('the load average counts, looked at once a second', () => {
  let load = 4
  let looks = 0
  const stretch = new Stretch(() => {
    looks++
    return load
  })
  for (let now = 0; now < 1000; now += 10) assert.equal(stretch.factor(now), 4)
  assert.equal(looks, 1)
  load = 2
  assert.equal(stretch.factor(1000), 2)
})

test('an entry that took longer than its CPU time counts for a while; short ones and nonsense do not', () => {
  const stretch = new Stretch(() => 0)
  stretch.ran(9, 1, 0)
  stretch.ran(90, 0, 0)
  stretch.ran(90, -3, 0)
  stretch.ran(90, NaN, 0)
  assert.equal(stretch.factor(0), 1)
  stretch.ran(120, 30, 0)
  assert.equal(stretch.factor(0), 4)
  stretch.ran(20, 19, 1)
  assert.ok(stretch.factor(1) > 3.9)
  assert.ok(Math.abs(stretch.factor(5_000) - 2.5) < 1e-9)
  assert.ok(stretch.factor(100_000) < 1.001)
})

test('it is bounded', () => {
  const stretch = new Stretch(() => 500)
  stretch.ran(1e6, 1, 0)
  assert.equal(stretch.factor(0), 10)
})
