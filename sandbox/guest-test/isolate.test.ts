import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'

test('the Web APIs work in an isolate made from a snapshot, also after the tenant has poisoned the intrinsics', () => {
  const output = execFileSync(process.execPath, ['--no-node-snapshot', `${import.meta.dirname}/isolate-child.ts`], {
    encoding: 'utf8',
  })
  const report = JSON.parse(output) as { failures: string[] }
  assert.deepEqual(report.failures, [])
})
