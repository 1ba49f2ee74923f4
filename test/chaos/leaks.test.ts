/** Short forms of `cycles.ts` and `soak.ts`: what leaks with each isolate, and what a mixed load leaves behind. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { describe } from './series.ts'
import { soak } from './soak.ts'

const skip = process.platform !== 'linux' && 'reads /proc'

for (const through of ['sandbox', 'host']) {
  test(`isolates come and go, and nothing of them stays, ${through}`, { skip, timeout: 120_000 }, async () => {
    // An isolate has more than a megabyte: 400 that stay would be seen ten times over.
    const args = [join(import.meta.dirname, 'cycles.ts'), '--cycles', '400', '--through', through, '--percent', '25']
    await promisify(execFile)(process.execPath, args)
  })
}

test('a mixed load fails nowhere and leaves nothing in flight and no descriptor', { skip, timeout: 170_000 }, async (t) => {
  const { failures, answered, verdicts } = await soak({ ms: 8_000, placement: 'inline', seed: 1, clients: 8 })
  for (const verdict of verdicts) t.diagnostic(describe(verdict))
  assert.deepEqual(failures, [])
  assert.ok(answered > 500, `${answered} answers say little`)
})
