import assert from 'node:assert/strict'
import { availableParallelism } from 'node:os'
import { test } from 'node:test'
import type { UsageLine } from '../host/usage.ts'
import { openApi } from './test-support/host.ts'

const line = (tenant: string, name: string, cpuMsPerSecond: number): UsageLine => ({
  tenant,
  name,
  cpuMsPerSecond,
  requestsPerSecond: 2,
  refusedPerSecond: 0,
  failedPerSecond: 0,
  coldStartsPerSecond: 0,
  inFlight: 1,
  isolates: 1,
  memoryBytes: 1_000,
})

test('operators see who uses the machine, and tenants what they use of it', async (t) => {
  const lines = [line('acme', 'a', 500), line('other', 'b', 20)]
  const { call, tokenFor } = await openApi(t, {
    usage: async (tenant) => lines.filter((one) => tenant === undefined || one.tenant === tenant),
  })
  const seen = async (path: string, token?: string) => {
    const { status, body } = await call('GET', path, token === undefined ? {} : { token })
    assert.equal(status, 200)
    return body.items.map((item: UsageLine) => `${item.tenant}/${item.name}`)
  }
  assert.deepEqual(await seen('/v1/usage'), ['acme/a', 'other/b'])
  assert.deepEqual(await seen('/v1/usage?tenant=other'), ['other/b'])
  const token = await tokenFor('acme', 'read')
  assert.deepEqual(await seen('/v1/usage', token), ['acme/a'])
  assert.equal((await call('GET', '/v1/usage?tenant=other', { token })).body.code, 'forbidden')
  const { body } = await call('GET', '/v1/usage')
  assert.equal(body.cores, availableParallelism())
  assert.equal(body.items[0].share, 0.5 / availableParallelism())
  assert.equal(body.windowSeconds, 10)
})
