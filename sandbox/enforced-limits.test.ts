import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { EnforcedLimits, STOP_GRACE } from './enforced-limits.ts'

const LIMITS = { cpuMs: 50, startMs: 400, wallMs: 30_000, memoryMb: 64 }

function ready(): EnforcedLimits {
  const limits = new EnforcedLimits(LIMITS)
  limits.starting(5)
  limits.leave(15)
  assert.equal(limits.started(), 10)
  return limits
}

suite('enforced limits', () => {
  test('the start is held to its CPU time, whatever making the isolate took', () => {
    const limits = new EnforcedLimits(LIMITS)
    limits.starting(300)
    assert.equal(limits.leave(700), undefined)
    assert.equal(limits.leave(701)?.code, 'cpu_exceeded')
  })

  test('the start does not end before its first event when it keeps too much', () => {
    const limits = new EnforcedLimits(LIMITS)
    assert.equal(limits.memory(65 * 1_048_576, 0, false), 'collect')
    assert.deepEqual(limits.memory(65 * 1_048_576, 1, true), limits.stopped('memory'))
  })

  test('an entry that waits for a thread is waited for; one that runs on is given up at the second look', () => {
    const limits = ready()
    const wall = limits.enter(1_000)
    assert.equal(limits.watchIn(wall), wall + STOP_GRACE)
    let now = 1_000 + wall + STOP_GRACE
    assert.equal(limits.watch(15, now), wall + STOP_GRACE)
    // It has a thread at last.
    assert.equal(limits.watch(15 + wall, (now += STOP_GRACE)), STOP_GRACE)
    const again = limits.watch(15 + wall + STOP_GRACE, (now += STOP_GRACE))
    assert.ok(typeof again === 'number' && again < STOP_GRACE)
    assert.deepEqual(limits.watch(15 + wall + STOP_GRACE + again, now + again), {
      code: 'cpu_exceeded',
      message: `It could not be stopped after ${wall + STOP_GRACE + again} ms`,
    })
    limits.enter(10_000)
    assert.equal(typeof limits.watch(15 + wall + STOP_GRACE, 10_001 + wall + STOP_GRACE), 'number')
  })

  for (const [what, readings] of [
    ['before it was seen to run', [15, 15, 15, 15, 15, 15]],
    ['and its reading falls back', [900, 13.5, 13.5, 13.5, 13.5, 13.5]],
  ] as [string, number[]][]) {
    test(`an entry whose thread is lost ${what} is given up, however long it may take`, () => {
      const limits = new EnforcedLimits({ ...LIMITS, cpuMs: 600_000 })
      limits.starting(5)
      limits.leave(15)
      limits.started()
      let now = limits.watchIn(limits.enter(0))
      for (const reading of readings) {
        const again = limits.watch(reading, now)
        if (typeof again !== 'number') break
        now += again
      }
      assert.ok(now > 10_000 && now < 25_000, String(now))
    })
  }

  test('what was carried is not charged, and never more than the live events brought can be left', () => {
    const limits = ready()
    limits.eventBegan(1, 0)
    assert.equal(limits.leave(15 + 49), undefined)
    limits.carried(1e6)
    assert.equal(limits.leave(15 + 52), undefined)
    assert.equal(limits.leave(15 + 53)?.code, 'cpu_exceeded')
    assert.equal(limits.report().cpuMs, 53)
    assert.equal(limits.report().cpuMs, 0)
  })

  test('a collection is reported, and charged to no event', () => {
    const limits = ready()
    limits.eventBegan(1, 0)
    limits.collected(15 + 500)
    assert.equal(limits.leave(15 + 540), undefined)
    assert.equal(limits.report().cpuMs, 540)
  })
})
