import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { FakeClock } from '../host/test-support/clock.ts'
import { Lanes } from './lanes.ts'
import type { Pass } from './lanes.ts'

function open(cores = 1) {
  const clock = new FakeClock()
  const lanes = new Lanes(cores, clock)
  const log: string[] = []
  /** Asks for a place; it is inside when its name is in the log. */
  const ask = (name: string, pass: Pass, isStart = false) => {
    const turn = pass.enter(isStart)
    if (turn === undefined) log.push(name)
    else void turn.then(() => log.push(name))
  }
  const pass = (name: string, tenant = name) => lanes.pass({ name: `${tenant}/${name}`, tenant })
  /** A pass of a function whose entries take so much. */
  const known = (cpuMs: number, name: string, tenant = name) => {
    const first = pass(name, tenant)
    void first.enter()
    first.leave(cpuMs)
    first.close(0)
    return pass(name, tenant)
  }
  return { clock, lanes, log, ask, pass, known }
}

test('light entries do not wait behind costly ones, nor behind those of whom nothing is known', () => {
  const { lanes, log, ask, pass, known } = open()
  const light = known(1, 'light')
  const spinners = ['a', 'b', 'c'].map((name) => known(50, name))
  const strangers = ['x', 'y'].map((name) => pass(name))
  for (const [i, spinner] of spinners.entries()) ask(`spinner ${i}`, spinner)
  for (const [i, stranger] of strangers.entries()) ask(`stranger ${i}`, stranger)
  ask('light', light)
  assert.deepEqual(log, ['spinner 0', 'stranger 0', 'light'])
  assert.deepEqual(lanes.counts(), {
    light: { inside: 1, waiting: 0 },
    fresh: { inside: 1, waiting: 1 },
    costly: { inside: 1, waiting: 2 },
  })
})

test('there are as many costly places as the process has cores to spare, and one at least', () => {
  const most = (cores: number) => {
    const { lanes, ask, known } = open(cores)
    for (let i = 0; i < 20; i++) ask('', known(50, `f${i}`))
    return lanes.counts().costly
  }
  assert.deepEqual([1, 2, 3, 8].map((cores) => most(cores).inside), [1, 1, 2, 7]) // prettier-ignore
})

test('a free place goes to the tenant that has used the least, and of its functions to the one that has', async () => {
  const { log, ask, known } = open()
  const greedy = [known(50, 'g1', 'greedy'), known(60, 'g2', 'greedy'), known(40, 'g3', 'greedy')]
  const modest = known(70, 'm', 'modest')
  const running = known(50, 'running')
  ask('running', running)
  for (const [i, pass] of greedy.entries()) ask(`g${i + 1}`, pass)
  ask('m', modest)
  for (const [pass, cpuMs] of [
    [running, 50],
    [modest, 10],
    [greedy[2]!, 10],
    [greedy[0]!, 10],
  ] as const) {
    // prettier-ignore
    pass.leave(cpuMs)
    await Promise.resolve()
  }
  assert.deepEqual(log, ['running', 'm', 'g3', 'g1', 'g2'])
})

test('what was used is forgotten with time', async () => {
  const { clock, log, ask, known } = open()
  const [before, now, running] = [known(50, 'before'), known(50, 'now'), known(50, 'running')]
  ask('before', before)
  before.leave(1_000)
  await clock.pass(20_000)
  ask('now', now)
  now.leave(100)
  ask('running', running)
  ask('now again', now)
  ask('before again', before)
  running.leave(50)
  await Promise.resolve()
  assert.deepEqual(log, ['before', 'now', 'running', 'before again'])
})

test('an entry that was cut short makes its function a costly one, and some short ones make it light again', () => {
  const { lanes, pass, known } = open()
  const light = known(0.1, 'f')
  void light.enter()
  light.close(50)
  const next = pass('f')
  const laneOf = () => {
    void next.enter()
    const { costly, light: lightLane } = lanes.counts()
    next.leave(0.1)
    return costly.inside === 1 ? 'costly' : lightLane.inside === 1 ? 'light' : 'fresh'
  }
  assert.equal(laneOf(), 'costly')
  const lanesTaken = Array.from({ length: 20 }, laneOf)
  assert.equal(lanesTaken.at(-1), 'light')
  assert.ok(lanesTaken.filter((lane) => lane === 'costly').length >= 5)
})

test('evaluating a bundle goes the way of the unknown, and says nothing about its events', () => {
  const { lanes, ask, known } = open()
  const pass = known(0.1, 'f')
  ask('start', pass, true)
  assert.equal(lanes.counts().fresh.inside, 1)
  pass.leave(300)
  ask('event', pass)
  assert.equal(lanes.counts().light.inside, 1)
})

test('light entries that take long while others wait count as costly ones, up to a bound', async () => {
  const { clock, lanes, log, ask, known } = open()
  const liars = Array.from({ length: 20 }, (_, i) => known(1, `liar${i}`))
  for (const [i, liar] of liars.entries()) ask(`liar ${i}`, liar)
  assert.deepEqual(log, ['liar 0', 'liar 1'])
  await clock.pass(5)
  assert.deepEqual(log, ['liar 0', 'liar 1', 'liar 2', 'liar 3'])
  await clock.pass(1_000)
  assert.deepEqual(lanes.counts(), {
    light: { inside: 2, waiting: 15 },
    fresh: { inside: 0, waiting: 0 },
    costly: { inside: 3, waiting: 0 },
  })
  liars[0]!.leave(50)
  await clock.pass(5)
  assert.equal(lanes.counts().costly.inside, 3)
  assert.equal(lanes.counts().light.waiting, 14)
})

test('one that comes and goes while others wait is not overdue', async () => {
  const { clock, lanes, ask, known } = open()
  const [quick, slow, waiting] = [known(1, 'quick'), known(1, 'slow'), known(1, 'waiting')]
  ask('quick', quick)
  ask('slow', slow)
  ask('waiting', waiting)
  quick.leave(1)
  ask('quick', quick)
  await clock.pass(5)
  assert.deepEqual(lanes.counts().costly, { inside: 1, waiting: 0 })
})

/** What may happen to a pass, at any time. */
const step = fc.record({
  who: fc.nat(11),
  what: fc.constantFrom('enter', 'enter', 'start', 'leave', 'leave', 'close', 'pass time'),
  cpuMs: fc.constantFrom(0, 0.1, 3, 8, 50, 500),
})

test('whatever happens, places are bounded, none is lost, and whoever waits gets one', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 4 }), fc.array(step, { maxLength: 200, size: 'max' }), async (cores, steps) => {
      const { clock, lanes, pass } = open(cores)
      const make = (who: number) => ({ pass: pass(`f${who}`, `t${who % 4}`), state: 'outside' })
      const all = Array.from({ length: 12 }, (_, who) => make(who))
      const bounds = { light: cores + 1, fresh: Math.max(1, Math.floor(cores / 2)), costly: Math.max(1, cores - 1) }
      const check = async () => {
        await Promise.resolve()
        const counts = lanes.counts()
        const inside = all.filter(({ state }) => state === 'inside').length
        const waiting = all.filter(({ state }) => state === 'waiting').length
        assert.equal(counts.light.inside + counts.fresh.inside + counts.costly.inside, inside)
        assert.equal(counts.light.waiting + counts.fresh.waiting + counts.costly.waiting, waiting)
        assert.ok(counts.light.inside <= bounds.light)
        assert.ok(counts.fresh.inside <= bounds.fresh)
        assert.ok(counts.costly.inside <= bounds.costly + 2)
        for (const name of ['light', 'fresh', 'costly'] as const)
          assert.ok(counts[name].waiting === 0 || counts[name].inside >= bounds[name], `${name} has room and somebody waits`)
      }
      for (const { who, what, cpuMs } of steps) {
        const one = all[who]!
        if (what === 'pass time') await clock.pass(cpuMs)
        else if (what === 'leave') {
          if (one.state === 'inside') one.state = 'outside'
          one.pass.leave(cpuMs)
        } else if (what === 'close') {
          one.pass.close(cpuMs)
          all[who] = make(who)
        } else if (one.state === 'outside') {
          const turn = one.pass.enter(what === 'start')
          one.state = turn === undefined ? 'inside' : 'waiting'
          void turn?.then(() => (one.state = 'inside'))
        }
        await check()
      }
      for (let round = 0; all.some(({ state }) => state !== 'outside'); round++) {
        assert.ok(round < 20, 'somebody waits for ever')
        for (const one of all) {
          if (one.state !== 'inside') continue
          one.state = 'outside'
          one.pass.leave(1)
        }
        await check()
      }
    }),
    { numRuns: 100 },
  )
})
