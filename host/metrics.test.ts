import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AggregatorRegistry, Registry } from 'prom-client'
import { FunctionMetrics } from './function-metrics.ts'
import { Counters } from './metrics.ts'
import { Usage } from './usage.ts'

/** The series of a text, by name and labels. */
function seriesOf(text: string): Map<string, number> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]))
}

test('requests of several processes are counted together, each once however often they are scraped', async () => {
  const [one, other] = [new Counters(), new Counters()]
  const use = one.usage.of('acme', 'a')
  one.request(use, 200, 0.3)
  one.request(use, 200, 40_000)
  await one.registry.metrics()
  one.request(use, 'no_response', 3)
  one.request(undefined, 'unknown_host', 3)
  other.request(other.usage.of('acme', 'a'), 200, 3)
  other.request(other.usage.of('acme', 'b'), 0, 3)
  const json = (await Promise.all([one, other].map(({ registry }) => registry.getMetricsAsJSON()))) as never
  const series = seriesOf(await AggregatorRegistry.aggregate(json).metrics())
  const value = (name: string) => series.get(name)
  assert.equal(value('skep_requests_total{function="acme/a",code="200"}'), 3)
  assert.equal(value('skep_requests_total{function="acme/a",code="no_response"}'), 1)
  assert.equal(value('skep_requests_total{function="acme/b",code="client_gone"}'), 1)
  assert.equal(value('skep_requests_total{code="unknown_host"}'), 1)
  assert.equal(value('skep_request_duration_seconds_bucket{le="0.00025"}'), 0)
  assert.equal(value('skep_request_duration_seconds_bucket{le="0.0005"}'), 1)
  assert.equal(value('skep_request_duration_seconds_bucket{le="30"}'), 5)
  assert.equal(value('skep_request_duration_seconds_bucket{le="+Inf"}'), 6)
  assert.equal(value('skep_request_duration_seconds_count'), 6)
  assert.ok(Math.abs(value('skep_request_duration_seconds_sum')! - 40.0123) < 1e-9)
})

test('CPU time, memory, cold starts and limits are told by function', async () => {
  const counters = new Counters()
  const use = counters.usage.of('acme', 'a')
  counters.usage.ran(use, 1_500)
  counters.coldStart(use, 5)
  counters.usage.limited(use, 'cpu_exceeded')
  use.memoryBytes = 7
  counters.waited(3)
  const series = seriesOf(await counters.registry.metrics())
  assert.equal(series.get('skep_isolate_cpu_seconds_total{function="acme/a"}'), 1.5)
  assert.equal(series.get('skep_cold_starts_total{function="acme/a"}'), 1)
  assert.equal(series.get('skep_limit_exceeded_total{function="acme/a",limit="cpu_exceeded"}'), 1)
  assert.equal(series.get('skep_isolate_memory_bytes{function="acme/a"}'), 7)
  assert.equal(series.get('skep_dispatch_wait_seconds_bucket{le="0.0025"}'), 0)
  assert.equal(series.get('skep_dispatch_wait_seconds_bucket{le="0.005"}'), 1)
})

test('the busiest functions have series of their own, the rest are one, and nothing is lost or counted twice', async () => {
  const usage = new Usage()
  const registry = new Registry()
  const metrics = new FunctionMetrics(usage, registry, 3)
  assert.ok(metrics)
  usage.tick(0)
  const cpu = async () => {
    const series = seriesOf(await registry.metrics())
    const of = [...series].filter(([name]) => name.startsWith('skep_isolate_cpu_seconds_total'))
    const total = of.reduce((sum, [, value]) => sum + value, 0)
    return { names: of.map(([name]) => /"(.*)"/.exec(name)![1]!).toSorted(), total: Math.round(total * 1000), series }
  }
  const uses = Array.from({ length: 10 }, (_, i) => usage.of('acme', `f${i}`))
  for (const [i, use] of uses.entries()) {
    usage.ran(use, 100 * (i + 1))
    usage.answered(use, 200, 1)
  }
  const first = await cpu()
  assert.deepEqual(first.names, ['acme/f7', 'acme/f8', 'acme/f9', 'other'])
  assert.equal(first.total, 5_500)
  assert.equal(first.series.get('skep_requests_total{function="other",code="200"}'), 7)
  assert.equal((await cpu()).total, 5_500)

  // Others become busy: they take the places, and what had been counted stays counted.
  for (let second = 1; second <= 60; second++) {
    usage.ran(uses[0]!, 500)
    usage.tick(second * 1_000)
  }
  const later = await cpu()
  assert.ok(later.names.includes('acme/f0'))
  assert.equal(later.names.length, 4)
  assert.equal(later.total, 5_500 + 60 * 500)
  const requests = [...later.series].filter(([name]) => name.startsWith('skep_requests_total'))
  assert.equal(requests.reduce((sum, [, value]) => sum + value, 0), 10) // prettier-ignore
  assert.ok(later.series.get('skep_requests_total{function="other",code="200"}')! >= 7)
})
