import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConductBook } from '../host/conduct-book.ts'
import { configSchema } from '../host/config.ts'
import { openApi } from './test-support/host.ts'

async function openQuarantine(t: Parameters<typeof openApi>[0]) {
  const conduct = new ConductBook(configSchema.parse({}))
  const offend = (name: string, kind: 'unstoppable' | 'process_lost') =>
    conduct.offence(name, '0123456789abcdef', { kind, message: 'It did what it should not', alone: false })
  offend('acme/bad', 'unstoppable')
  offend('acme/odd', 'process_lost')
  offend('other/bad', 'unstoppable')
  conduct.ran('acme/good', '0123456789abcdef', 1, 1)
  return { conduct, offend, ...(await openApi(t, { conduct })) }
}

test('a tenant sees what its own functions did and when they may come back; an operator sees all', async (t) => {
  const { call, tokenFor } = await openQuarantine(t)
  const token = await tokenFor('acme', 'read')
  const { status, body } = await call('GET', '/v1/quarantine', { token })
  assert.equal(status, 200)
  const byName = new Map(body.items.map((item: { function: string }) => [item.function, item]))
  assert.deepEqual([...byName.keys()].toSorted(), ['bad', 'odd'])
  const bad = byName.get('bad') as Record<string, never>
  assert.equal(bad.state, 'quarantined')
  assert.ok(Date.parse(bad.until!) > Date.now())
  assert.match(bad.message!, /^unstoppable: It did what it should not\. It is tried again with the first event from \d{4}-/)
  assert.deepEqual(bad.counts, { unstoppable: 1 })
  const odd = byName.get('odd') as Record<string, never>
  assert.deepEqual([odd.state, odd.until], ['suspected', undefined])
  assert.equal((await call('GET', '/v1/quarantine')).body.items.length, 3)
  assert.equal((await call('GET', '/v1/quarantine?tenant=other')).body.items.length, 1)
})

test('only an operator releases, and only what is in quarantine; it is in the audit log', async (t) => {
  const { call, tokenFor, conduct, lines } = await openQuarantine(t)
  const refused = await call('DELETE', '/v1/quarantine/bad', { token: await tokenFor('acme', 'admin') })
  assert.deepEqual([refused.status, refused.body.code], [403, 'forbidden'])
  assert.ok(conduct.refusal('acme/bad', '0123456789abcdef') !== undefined)
  const headers = { 'skep-tenant': 'acme' }
  assert.equal((await call('DELETE', '/v1/quarantine/bad', { headers })).status, 204)
  assert.equal(conduct.refusal('acme/bad', '0123456789abcdef'), undefined)
  assert.ok(conduct.refusal('other/bad', '0123456789abcdef') !== undefined)
  assert.ok(lines.some((line) => line.msg === 'API write' && line.path === '/v1/quarantine/bad' && line.tenant === 'acme'))
  for (const name of ['odd', 'good', 'nothing']) {
    const none = await call('DELETE', `/v1/quarantine/${name}`, { headers })
    assert.deepEqual([none.status, none.body.code], [404, 'not_found'], name)
  }
})
