import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { TestContext } from 'node:test'
import type { Report } from './campaign.ts'
import { formatSummary, formatVictim } from './report.ts'

/** On a machine that does much else at once; by how much it grows on a free one is for `npm run test:hostile -- --bench`. */
const SLOWEST_P99 = 15_000

/**
 * `main.ts` in a process of its own, as its host is to have no network but a loopback: every attack ends as it has to, the
 * victim has all of its answers, and no process ended that should not have.
 */
export async function campaign(t: TestContext, placement: string, groups: string[]): Promise<void> {
  const args = ['--json', '--placement', placement, '--groups', groups.join()]
  const child = spawn(process.execPath, [join(import.meta.dirname, 'main.ts'), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    signal: t.signal,
  })
  child.on('error', () => {})
  const out = await text(child.stdout)
  assert.notEqual(out, '', 'the campaign broke off')
  const report = JSON.parse(out) as Report
  console.log([...formatVictim(report), formatSummary(report)].join('\n'))
  const wrong = report.results.filter(({ problem }) => problem !== '')
  const lines = wrong.map(({ group, name, expected, problem }) => `${group}: ${name}: expected ${expected}; ${problem}`)
  assert.deepEqual([...lines, ...report.problems], [])
  assert.deepEqual(Object.keys(report.attacked), groups)
  for (const [group, { sent, answered, p99 }] of Object.entries(report.attacked)) {
    assert.equal(answered, sent, group)
    assert.ok(p99 < SLOWEST_P99, `${group}: the victim's p99 is ${p99} ms`)
  }
}
