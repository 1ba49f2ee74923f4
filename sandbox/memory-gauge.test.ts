import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { heapMbFor, MemoryGauge } from './memory-gauge.ts'

const MB = 1_048_576

suite('memory of an isolate', () => {
  test('V8’s own limit leaves room for a table to double at the function’s limit, and for what one entry can do', () => {
    for (const limit of [8, 16, 64, 128, 512, 4096]) {
      assert.ok(heapMbFor(limit) >= 3 * limit, String(limit))
      assert.ok(heapMbFor(limit) >= limit + 256, String(limit))
      assert.ok(Number.isInteger(heapMbFor(limit * 1.001)))
    }
  })

  test('it is read seldom far from the limit, often near it, and never more than once in 0.3 ms of CPU time', () => {
    const gauge = new MemoryGauge(100)
    const pauseAfter = (mb: number) => {
      // Growth from nothing is forgotten.
      for (let i = 0; i < 20; i++) gauge.read(mb * MB, 0, 0, false)
      for (let tenths = 1; ; tenths++) if (gauge.wantsReading(0, tenths / 10)) return tenths / 10
    }
    const pauses = [4, 52, 92, 96, 99.9, 100, 101].map(pauseAfter)
    assert.deepEqual(pauses.slice(0, 4), [12, 6, 1, 0.5])
    assert.deepEqual(new Set(pauses.slice(4)), new Set([0.3]))
    gauge.read(0, 0, 0, false)
    assert.deepEqual([gauge.wantsReading(99, 0), gauge.wantsReading(100, 0)], [false, true])
  })

  test('growth that was fast is reckoned with for a while', () => {
    const gauge = new MemoryGauge(100)
    gauge.read(2 * MB, 0, 0, false)
    gauge.read(2 * MB, 0, 1_000, false)
    gauge.read(52 * MB, 0, 1_002, false)
    assert.deepEqual([gauge.wantsReading(0, 1_003.9), gauge.wantsReading(0, 1_004)], [false, true])
    for (let i = 1; i <= 10; i++) gauge.read(52 * MB, 0, 1_002 + i, false)
    assert.deepEqual([gauge.wantsReading(0, 1_012 + 5.9), gauge.wantsReading(0, 1_012 + 6)], [false, true])
  })

  test('garbage is no reason for anything', () => {
    const gauge = new MemoryGauge(100)
    let now = 0
    for (let i = 0; i < 100; i++) {
      assert.equal(gauge.read(300 * MB, now, 0, false), 'collect')
      assert.equal(gauge.read(20 * MB, now + 10, 0, true), 'fine')
      now += 200
    }
  })

  test('what is left above the limit retires it once, above the margin it ends', () => {
    const gauge = new MemoryGauge(100)
    assert.equal(gauge.read(100 * MB, 0, 0, false), 'fine')
    assert.equal(gauge.read(101 * MB, 0, 0, false), 'collect')
    assert.equal(gauge.read(101 * MB, 10, 0, true), 'retire')
    assert.equal(gauge.read(110 * MB, 500, 0, false), 'fine')
    assert.equal(gauge.read(126 * MB, 600, 0, false), 'collect')
    assert.equal(gauge.read(120 * MB, 610, 0, true), 'fine')
    assert.equal(gauge.read(126 * MB, 1_000, 0, false), 'collect')
    assert.equal(gauge.read(126 * MB, 1_010, 0, true), 'over')
  })

  test('looking for garbage takes a tenth of the time at most, save above the margin', () => {
    const gauge = new MemoryGauge(100)
    gauge.read(105 * MB, 1_000, 0, false)
    assert.equal(gauge.read(99 * MB, 1_050, 0, true), 'fine')
    assert.equal(gauge.read(105 * MB, 1_100, 0, false), 'fine')
    assert.equal(gauge.read(126 * MB, 1_200, 0, false), 'collect')
    assert.equal(gauge.read(99 * MB, 1_210, 0, true), 'fine')
    assert.equal(gauge.read(105 * MB, 1_299, 0, false), 'fine')
    assert.equal(gauge.read(105 * MB, 1_310, 0, false), 'collect')
  })
})
