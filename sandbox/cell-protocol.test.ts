import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkFromCell } from './cell-protocol.ts'
import type { FromCell } from './cell-protocol.ts'

test('a list of nothing but holes is refused at its first, however long it says it is', () => {
  const holes = Object.assign([] as never[], { length: 2 ** 32 - 1 })
  const ready = { type: 'ready', sandbox: 1, report: { cpuMs: 1, handlers: holes } } satisfies FromCell
  assert.equal(checkFromCell(ready), 'ready is malformed')
  const failure = { code: 'cpu_exceeded', message: '', notBegun: holes } as const
  assert.equal(checkFromCell({ type: 'ended', sandbox: 1, failure }), 'ended is malformed')
  assert.equal(checkFromCell({ ...ready, report: { cpuMs: 1, handlers: ['fetch'] } }), '')
})
