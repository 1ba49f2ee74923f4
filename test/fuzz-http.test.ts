/** A short run of the fuzzer of the listeners; `test/fuzz-http.ts` makes long ones. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { FuzzHost } from './fuzz-http/run.ts'
import { CARRIERS, whyNot } from './listener/stage.ts'

describe('fuzzed requests', { concurrency: false, timeout: 150_000 }, () => {
  let host: FuzzHost
  before(async () => {
    host = await FuzzHost.start()
  })
  after(() => host?.stop())

  for (const carrier of CARRIERS) {
    test(carrier, { skip: whyNot(carrier) }, async (t) => {
      const seed = Math.floor(Math.random() * 2 ** 32)
      const report = await host.fuzz(carrier, {
        requests: carrier === 'uws' || carrier === 'node' ? 4_000 : 1_500,
        seed,
        seconds: 20,
      })
      t.diagnostic(JSON.stringify(report))
      assert.deepEqual(report.faults, [], `--carrier ${carrier} --seed ${seed}`)
      assert.ok(report.requests > 100 && report.answers > 50 && report.probes > 0)
      assert.ok(report.rssMb[1] - report.rssMb[0] < 250, `${report.rssMb.join(' to ')} MB`)
    })
  }
})
