/** The attack corpus, as a host places functions by default. What ends isolates and processes is in files beside this one. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GROUPS } from './groups.ts'
import { campaign } from './judge.ts'

test('there are at least 150 attacks, no two of a group have one name, and several outcomes have a reason', () => {
  let count = 0
  for (const { name, attacks } of GROUPS) {
    count += attacks.length
    assert.equal(new Set(attacks.map((attack) => attack.name)).size, attacks.length, name)
    for (const { name: attack, expect, run, why } of attacks)
      if (Array.isArray(expect) && expect.length > 1 && run === undefined) assert.notEqual(why, undefined, `${name}: ${attack}`)
  }
  assert.ok(count >= 150, String(count))
})

test('attacks on tenants, answers, requests, modules and lives', { timeout: 175_000 }, (t) =>
  campaign(t, 'default', ['clock', 'escape', 'leak', 'outbound', 'response', 'protocol', 'module', 'lifecycle']),
)
