import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { SandboxFailure } from '../sandbox/sandbox.ts'
import { CellSandbox } from './cell-sandbox.ts'

function open() {
  const failures: SandboxFailure[] = []
  const observer = { emit() {}, settled() {}, ended: (failure: SandboxFailure) => void failures.push(failure) }
  const sandbox = new CellSandbox({ name: 'a/b', version: '' }, observer, { dispatch() {}, dispose() {} })
  return { sandbox, failures }
}

test('a cell refuses what it loads', async () => {
  const { sandbox, failures } = open()
  sandbox.receive({ type: 'refused', sandbox: 1, message: 'no', stack: 'there' })
  await assert.rejects(sandbox.ready, { code: 'start_failed', message: 'no' })
  assert.deepEqual(failures, [])
})

test('a cell that refuses what has started ends it, and nobody waits for it', async () => {
  const { sandbox, failures } = open()
  sandbox.receive({ type: 'ready', sandbox: 1, report: { cpuMs: 1, handlers: ['fetch'] } })
  await sandbox.ready
  sandbox.receive({ type: 'refused', sandbox: 1, message: 'no', stack: '' })
  sandbox.receive({ type: 'refused', sandbox: 1, message: 'no', stack: '' })
  assert.deepEqual(
    failures.map(({ code }) => code),
    ['worker_lost'],
  )
})
