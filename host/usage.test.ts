import assert from 'node:assert/strict'
import { test } from 'node:test'
import { mergeUsage, Usage } from './usage.ts'

test('rates are averages of the last seconds, and fade', () => {
  const usage = new Usage()
  const use = usage.of('acme', 'a')
  usage.tick(0)
  for (let second = 1; second <= 60; second++) {
    usage.ran(use, 250)
    for (let i = 0; i < 20; i++) usage.answered(use, 200, 5)
    usage.answered(use, 'overloaded', 0)
    usage.answered(use, 'cpu_exceeded', 50)
    usage.tick(second * 1_000)
  }
  const [line] = usage.report()
  assert.ok(Math.abs(line!.cpuMsPerSecond - 250) < 2)
  assert.ok(Math.abs(line!.requestsPerSecond - 22) < 0.5)
  assert.ok(Math.abs(line!.refusedPerSecond - 1) < 0.05)
  assert.ok(Math.abs(line!.failedPerSecond - 1) < 0.05)
  assert.ok(Math.abs(use.durationMs - 5) < 0.1)
  for (let second = 61; second <= 80; second++) usage.tick(second * 1_000)
  assert.ok(usage.report()[0]!.cpuMsPerSecond < 40)
})

test('the busiest come first, a tenant sees its own, and who does nothing is left out', () => {
  const usage = new Usage()
  usage.tick(0)
  for (const [tenant, fn, cpuMs] of [
    ['acme', 'small', 1],
    ['acme', 'big', 90],
    ['else', 'middle', 40],
    ['acme', 'none', 0],
  ] as const)
    // prettier-ignore
    usage.ran(usage.of(tenant, fn), cpuMs)
  usage.tick(1_000)
  const names = (tenant?: string) => usage.report(tenant).map((line) => `${line.tenant}/${line.name}`)
  assert.deepEqual(names(), ['acme/big', 'else/middle', 'acme/small'])
  assert.deepEqual(names('else'), ['else/middle'])
  assert.deepEqual(names('nobody'), [])
})

test('several processes are told as one', () => {
  const usages = [new Usage(), new Usage()]
  for (const usage of usages) {
    usage.tick(0)
    const use = usage.of('acme', 'a')
    use.inFlight = 2
    use.isolates = 1
    use.memoryBytes = 10
    usage.ran(use, 100)
    usage.tick(1_000)
  }
  const [one] = usages[0]!.report()
  const merged = mergeUsage(usages.flatMap((usage) => usage.report()))
  assert.equal(merged.length, 1)
  assert.equal(merged[0]!.cpuMsPerSecond, 2 * one!.cpuMsPerSecond)
  assert.deepEqual([merged[0]!.inFlight, merged[0]!.isolates, merged[0]!.memoryBytes], [4, 2, 20])
})

test('functions that rest are forgotten, but not those with an isolate or a request', () => {
  const usage = new Usage()
  usage.tick(0)
  const [resting, loaded, asked] = ['resting', 'loaded', 'asked'].map((name) => usage.of('acme', name))
  loaded!.isolates = 1
  asked!.inFlight = 1
  usage.tick(599_000)
  assert.equal(resting!.isForgotten, false)
  usage.tick(601_000)
  assert.deepEqual([resting, loaded, asked].map((use) => use!.isForgotten), [true, false, false]) // prettier-ignore
  assert.notEqual(usage.of('acme', 'resting'), resting)
  assert.equal(usage.of('acme', 'loaded'), loaded)
})

test('however many functions there are, so many are remembered', () => {
  const usage = new Usage()
  usage.tick(0)
  for (let i = 0; i < 12_000; i++) usage.of(`tenant-${i}`, 'f')
  const newest = usage.of('tenant-11999', 'f')
  usage.tick(1_000)
  assert.equal([...usage.all].length, 10_000)
  assert.equal(newest.isForgotten, false)
})
