/** The attack corpus against two real hosts, one after the other: every attack ends as it has to, and the victim notices none. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { suite, test } from 'node:test'
import type { Report } from './campaign.ts'
import { GROUPS } from './groups.ts'
import { formatSummary, formatVictim } from './report.ts'

/** On a machine that does much else at once; by how much it grows on a free one is for `npm run hostile -- --bench`. */
const SLOWEST_P99 = 15_000

/** `main.ts` in a process of its own, as its host is to have no network but a loopback. */
async function campaign(...args: string[]): Promise<Report> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'main.ts'), '--json', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const out = await text(child.stdout)
  assert.notEqual(out, '', 'the campaign broke off')
  return JSON.parse(out) as Report
}

function judge(report: Report): void {
  const wrong = report.results.filter(({ problem }) => problem !== '')
  const lines = wrong.map(({ group, name, expected, problem }) => `${group}: ${name}: expected ${expected}; ${problem}`)
  assert.deepEqual([...lines, ...report.problems], [])
  for (const [group, { sent, answered, p99 }] of Object.entries(report.attacked)) {
    assert.equal(answered, sent, group)
    assert.ok(p99 < SLOWEST_P99, `${group}: the victim's p99 is ${p99} ms`)
  }
}

suite('attacks', { timeout: 300_000 }, () => {
  test('there are at least 150, and no two of a group have one name', () => {
    let count = 0
    for (const { name, attacks } of GROUPS) {
      count += attacks.length
      assert.equal(new Set(attacks.map((attack) => attack.name)).size, attacks.length, name)
      for (const attack of attacks) assert.ok(!Array.isArray(attack.expect) || attack.expect.length < 2 || attack.run || attack.why, `${name}: ${attack.name} has no reason for several outcomes`) // prettier-ignore
    }
    assert.ok(count >= 150, String(count))
  })

  test('all of them, as a host places functions by default', async () => {
    const report = await campaign()
    console.log([...formatVictim(report), formatSummary(report)].join('\n'))
    judge(report)
  })

  test('those on isolates and processes, in cells', async () => {
    const report = await campaign('--placement', 'cell', '--groups', 'escape,lifecycle,cpu,uninterruptible')
    console.log([...formatVictim(report), formatSummary(report)].join('\n'))
    judge(report)
  })
})
