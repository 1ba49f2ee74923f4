import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DEFAULT_LIMITS } from '../sandbox/limits.ts'
import type { Limits } from '../sandbox/limits.ts'
import type { ConductState } from './conduct.ts'
import { choose, groupOf, isSamePlace, stricter } from './placement.ts'
import type { Placement } from './placement.ts'

interface Row {
  limits?: Partial<Limits>
  cordon?: string
  state?: ConductState
  costly?: boolean
  placement?: Placement
  inline?: boolean
}

const rows: [Row, string][] = [
  [{}, 'inline'],
  [{ limits: { cpuMs: 100, memoryMb: 128 } }, 'inline'],
  [{ limits: { cpuMs: 101 } }, 'cell/default'],
  [{ limits: { memoryMb: 129 } }, 'cell/default'],
  [{ cordon: 'paid' }, 'cell/paid'],
  [{ inline: false }, 'cell/default'],
  [{ costly: true }, 'heavy/default'],
  [{ costly: true, cordon: 'paid' }, 'heavy/paid'],
  [{ state: 'probation' }, 'probation/default'],
  [{ state: 'probation', cordon: 'paid' }, 'probation/paid'],
  [{ state: 'probation', costly: true }, 'probation/default'],
  [{ state: 'suspected' }, 'solo/acme/f@1'],
  [{ state: 'suspected', costly: true, cordon: 'paid' }, 'solo/acme/f@1'],
  [{ state: 'half_open' }, 'solo/acme/f@1'],
  [{ state: 'quarantined' }, 'solo/acme/f@1'],

  [{ placement: 'inline' }, 'inline'],
  [{ placement: 'inline', state: 'probation' }, 'inline'],
  [{ placement: 'inline', limits: { memoryMb: 512 }, costly: true }, 'inline'],
  [{ placement: 'inline', state: 'suspected' }, 'solo/acme/f@1'],
  [{ placement: 'inline', cordon: 'paid' }, 'cell/paid'],
  [{ placement: 'inline', inline: false }, 'cell/default'],

  [{ placement: 'cell' }, 'cell/default'],
  [{ placement: 'cell', state: 'probation' }, 'cell/default'],
  [{ placement: 'cell', costly: true, cordon: 'paid' }, 'cell/paid'],
  [{ placement: 'cell', state: 'half_open' }, 'solo/acme/f@1'],

  [{ placement: 'solo' }, 'solo/acme/f@1'],
  [{ placement: 'solo', state: 'probation', cordon: 'paid' }, 'solo/acme/f@1'],
]

for (const [row, group] of rows) {
  test(`${JSON.stringify(row)} is placed in ${group}`, () => {
    const limits = { ...DEFAULT_LIMITS, ...row.limits }
    const spec = { name: 'acme/f', version: '1', cordon: row.cordon ?? 'default', limits }
    const standing = { state: row.state ?? 'trusted', costly: row.costly ?? false }
    const place = choose(spec, standing, { placement: row.placement ?? 'adaptive', inline: row.inline ?? true })
    assert.equal(groupOf(place), group)
    assert.equal(place.kind, group.split('/')[0])
    assert.ok(isSamePlace(place, { ...place }))
  })
}

test('no two cordons share a group, whatever the state', () => {
  for (const placement of ['inline', 'adaptive', 'cell', 'solo'] as const)
    for (const state of ['probation', 'trusted', 'suspected', 'half_open', 'quarantined'] as const)
      for (const costly of [false, true]) {
        const at = (cordon: string) =>
          groupOf(
            choose(
              { name: `${cordon}/f`, version: '1', cordon, limits: DEFAULT_LIMITS },
              { state, costly },
              { placement, inline: true },
            ),
          )
        assert.notEqual(at('paid'), at('free'))
        assert.notEqual(at('paid'), at('default'))
        assert.notEqual(at('paid'), 'inline')
      }
})

test('a tenant may ask for a stricter placement, never for a laxer one', () => {
  assert.equal(stricter('adaptive', 'solo'), 'solo')
  assert.equal(stricter('adaptive', 'inline'), 'adaptive')
  assert.equal(stricter('inline', 'adaptive'), 'adaptive')
  assert.equal(stricter('cell', 'adaptive'), 'cell')
  assert.equal(stricter('cell', undefined), 'cell')
})
