import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AggregatorRegistry } from 'prom-client'
import { Counters } from './metrics.ts'

test('requests of several processes are counted together, each once however often they are scraped', async () => {
  const [one, other] = [new Counters(), new Counters()]
  one.request(200, 0.3)
  one.request(200, 40_000)
  await one.registry.metrics()
  one.request('no_response', 3)
  other.request(200, 3)
  other.request(0, 3)
  const json = (await Promise.all([one, other].map(({ registry }) => registry.getMetricsAsJSON()))) as never
  const text = await AggregatorRegistry.aggregate(json).metrics()
  const value = (series: string) =>
    Number(
      text
        .split('\n')
        .find((line) => line.startsWith(`${series} `))
        ?.split(' ')[1],
    )
  assert.equal(value('skep_requests_total{code="200"}'), 3)
  assert.equal(value('skep_requests_total{code="no_response"}'), 1)
  assert.equal(value('skep_requests_total{code="client_gone"}'), 1)
  assert.equal(value('skep_request_duration_seconds_bucket{le="0.00025"}'), 0)
  assert.equal(value('skep_request_duration_seconds_bucket{le="0.0005"}'), 1)
  assert.equal(value('skep_request_duration_seconds_bucket{le="30"}'), 4)
  assert.equal(value('skep_request_duration_seconds_bucket{le="+Inf"}'), 5)
  assert.equal(value('skep_request_duration_seconds_count'), 5)
  assert.ok(Math.abs(value('skep_request_duration_seconds_sum') - 40.0093) < 1e-9)
})
