import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SkepError } from '../host/errors.ts'
import { openApi } from './test-support/host.ts'

test('a version is uploaded, deployed, listed, shown, rolled back and deleted', async (t) => {
  const { call, upload } = await openApi(t)
  const first = await upload('hello', 'one', { metadata: { vars: { A: '1' }, limits: { cpuMs: 20 }, tag: 'v1' } })
  assert.equal(first.status, 201)
  const one = first.body.version
  assert.deepEqual(one.settings, { vars: { A: '1' }, limits: { cpuMs: 20 }, tag: 'v1' })
  assert.deepEqual([one.handlers, one.startCpuMs, one.by], [['fetch'], 1.23, 'root'])
  const two = (await upload('hello', 'two')).body.version

  const before = await call('GET', '/v1/functions/hello')
  assert.deepEqual([before.response.headers.get('etag'), before.body.deployment], ['"0"', null])
  const versions = [{ id: one.id, percent: 100 }]
  const deployed = await call('PUT', '/v1/functions/hello/deployment', { json: { versions }, headers: { 'if-match': '"0"' } })
  assert.deepEqual([deployed.status, deployed.response.headers.get('etag')], [200, '"1"'])
  const stale = await call('PUT', '/v1/functions/hello/deployment', { json: { versions }, headers: { 'if-match': '"0"' } })
  assert.deepEqual([stale.status, stale.body.code], [412, 'precondition_failed'])
  const split = [
    { id: one.id, percent: 90 },
    { id: two.id, percent: 10 },
  ]
  assert.equal((await call('PUT', '/v1/functions/hello/deployment', { json: { versions: split } })).status, 200)
  assert.equal((await call('GET', '/v1/functions/hello/versions')).body.items.length, 2)
  assert.equal((await call('GET', `/v1/functions/hello/versions/${two.id}`)).body.id, two.id)

  const back = await call('POST', '/v1/functions/hello/rollback', { json: {} })
  assert.deepEqual(back.body.deployment.versions, versions)
  assert.deepEqual(
    (await call('POST', '/v1/functions/hello/rollback', { json: { version: two.id } })).body.deployment.versions[0].id,
    two.id,
  )
  const history = await call('GET', '/v1/functions/hello/deployments')
  assert.deepEqual(
    history.body.items.map((item: { id: number }) => item.id),
    [4, 3, 2, 1],
  )

  assert.equal(
    (await call('PUT', '/v1/routes/Hello.LocalHost', { json: { function: 'hello' } })).body.hostname,
    'hello.localhost',
  )
  assert.equal((await call('DELETE', '/v1/functions/hello')).status, 204)
  assert.deepEqual((await call('GET', '/v1/routes')).body, { items: [] })
  assert.equal((await call('GET', '/v1/functions/hello')).body.code, 'not_found')
})

test('the same content is the same version: 201, then 200', async (t) => {
  const { upload } = await openApi(t)
  const first = await upload('hello', 'same')
  // A version counts as known where it is older than the request; the clock of the records has whole milliseconds.
  while (new Date().toISOString() <= first.body.version.createdAt) await new Promise(setImmediate)
  const second = await upload('hello', 'same')
  assert.deepEqual([first.status, second.status], [201, 200])
  assert.equal(first.body.version.id, second.body.version.id)
  assert.equal((await upload('hello', 'same', { metadata: { tag: 'other' } })).status, 201)
})

test('lists come in pages', async (t) => {
  const { call, deploy } = await openApi(t)
  for (const name of ['a', 'b', 'c']) {
    await deploy(name, name)
    await call('PUT', `/v1/routes/${name}.example.com`, { json: { function: name } })
  }
  for (const [path, key] of [
    ['/v1/functions', 'name'],
    ['/v1/routes', 'function'],
  ] as const) {
    const first = await call('GET', `${path}?limit=2`)
    assert.deepEqual(
      first.body.items.map((item: Record<string, string>) => item[key]),
      ['a', 'b'],
    )
    const rest = await call('GET', `${path}?limit=2&cursor=${encodeURIComponent(first.body.cursor)}`)
    assert.deepEqual([rest.body.items.map((item: Record<string, string>) => item[key]), rest.body.cursor], [['c'], undefined])
  }
  for (const query of ['limit=0', 'limit=1001', 'limit=x']) {
    assert.equal((await call('GET', `/v1/functions?${query}`)).body.code, 'invalid_request', query)
  }
})

test('problems are RFC 9457 documents with a code and the request id', async (t) => {
  const { call } = await openApi(t)
  const { response, body } = await call('GET', '/v1/functions/none', { headers: { 'x-request-id': 'abc-1' } })
  assert.equal(response.headers.get('content-type'), 'application/problem+json')
  assert.equal(response.headers.get('x-request-id'), 'abc-1')
  const detail = 'There is no function default/none.'
  const expected = {
    type: 'urn:skep:error:not_found',
    title: 'Not Found',
    status: 404,
    detail,
    code: 'not_found',
    requestId: 'abc-1',
  }
  assert.deepEqual(body, expected)
  const odd = await call('GET', '/healthz', { headers: { 'x-request-id': 'a b<script>' } })
  assert.match(odd.response.headers.get('x-request-id')!, /^[0-9a-f-]{36}$/)
  assert.equal((await call('PATCH', '/v1/functions')).body.code, 'not_found')
})

test('a fault of our own is a bare 500 whose cause is in the log under the request id', async (t) => {
  const { call, lines } = await openApi(t, {
    metrics: async () => {
      throw new TypeError('secret detail')
    },
  })
  const { status, text, body } = await call('GET', '/metrics')
  assert.deepEqual([status, body.code], [500, 'internal'])
  assert.ok(!text.includes('secret'))
  const logged = lines.find((line) => line['code'] === 'internal')!
  assert.equal(logged['requestId'], body.requestId)
  assert.match(JSON.stringify(logged['err']), /secret detail/)
})

test('a store that is away is a 503', async (t) => {
  const { call, store } = await openApi(t)
  const { body: before } = await call('GET', '/v1/functions')
  assert.deepEqual(before, { items: [] })
  t.mock.method(store, 'list', async () => {
    throw new SkepError('store_unavailable', 'The store is away.')
  })
  const { status, body } = await call('GET', '/v1/functions')
  assert.deepEqual([status, body.code], [503, 'store_unavailable'])
})

test('every write is logged with who did it; no token ever is', async (t) => {
  const { upload, lines, operator } = await openApi(t)
  await upload('hello', 'x')
  const line = lines.find(({ msg }) => msg === 'API write')!
  const { method, path, status, by, tenant } = line
  assert.deepEqual(
    { method, path, status, by, tenant },
    {
      method: 'POST',
      path: '/v1/functions/hello/versions',
      status: 201,
      by: 'root',
      tenant: 'default',
    },
  )
  assert.ok(!JSON.stringify(lines).includes(operator))
})

test('names and hostnames with tricks are refused', async (t) => {
  const { call, upload, deploy } = await openApi(t)
  for (const name of [
    '..%2f..%2fetc',
    '%2e%2e%2fx',
    'a%00b',
    'A',
    '-a',
    'a%2Fb',
    '%ff',
    '%zz',
    'x'.repeat(64),
    'a%0d%0ab',
    '%C3%A9',
    '__proto__',
  ]) {
    assert.equal((await upload(name, 'x')).body.code, 'invalid_name', name)
    assert.equal((await call('GET', `/v1/functions/${name}`)).body.code, 'invalid_name', name)
    assert.equal((await call('DELETE', `/v1/functions/${name}`)).body.code, 'invalid_name', name)
    assert.equal((await call('GET', '/v1/functions', { headers: { 'skep-tenant': name } })).body.code, 'invalid_name', name)
  }
  await deploy('hello', 'x')
  for (const version of ['..%2f..%2fbundles', '%00', 'x', '0'.repeat(17)]) {
    assert.equal((await call('GET', `/v1/functions/hello/versions/${version}`)).body.code, 'not_found', version)
  }
  for (const host of [
    'a..b',
    '..%2fx',
    'http:%2f%2fx',
    'a:80',
    'a%2fb',
    '*',
    '*.',
    'a.*.b',
    '%20',
    'x'.repeat(64),
    'b%C3%BCcher.de',
  ]) {
    assert.equal((await call('PUT', `/v1/routes/${host}`, { json: { function: 'hello' } })).body.code, 'invalid_hostname', host)
    assert.equal((await call('DELETE', `/v1/routes/${host}`)).body.code, 'invalid_hostname', host)
  }
})

test('bodies that are no JSON, too large, of another type or with unknown keys are refused', async (t) => {
  const { call, deploy } = await openApi(t)
  const id = await deploy('hello', 'x')
  const put = (given: object) => call('PUT', '/v1/functions/hello/deployment', given)
  const type = { 'content-type': 'application/json' }
  const bad = [
    await put({ body: '{', headers: type }),
    await put({ body: '', headers: type }),
    await put({ json: null }),
    await put({ json: { versions: [] } }),
    await put({ json: { versions: [{ id, percent: 50 }] } }),
    await put({ json: { versions: [{ id, percent: 100, extra: 1 }] } }),
    await put({ json: { versions: [{ id, percent: 100 }], strateegy: 'x' } }),
    await put({ json: { versions: [{ id, percent: 101 }] } }),
    await put({ body: JSON.stringify({ versions: [{ id, percent: 100 }] }), headers: { 'content-type': 'text/plain' } }),
    await put({ body: `versions=${id}`, headers: { 'content-type': 'application/x-www-form-urlencoded' } }),
    await put({ json: { versions: [{ id, percent: 100 }] }, headers: { 'if-match': 'three' } }),
  ]
  for (const [index, { status, body }] of bad.entries())
    assert.deepEqual([status, body.code], [400, 'invalid_request'], String(index))
  const large = await put({ body: `{"versions": "${'x'.repeat(1_100_000)}"}`, headers: type })
  assert.deepEqual([large.status, large.body.code], [413, 'body_too_large'])
  assert.equal((await put({ json: { versions: [{ id: '0'.repeat(16), percent: 100 }] } })).body.code, 'not_found')
  assert.equal((await call('GET', '/v1/functions/hello')).response.headers.get('etag'), '"1"')
})

test('the probes, the metrics and the document need no token', async (t) => {
  let ready = false
  const { call } = await openApi(t, { ready: () => ready })
  const none = { token: '' }
  assert.equal((await call('GET', '/healthz', none)).status, 200)
  assert.equal((await call('GET', '/readyz', none)).status, 503)
  ready = true
  assert.equal((await call('GET', '/readyz', none)).status, 200)
  assert.equal((await call('GET', '/metrics', none)).text, 'skep_up 1\n')
  assert.equal((await call('GET', '/openapi.json', none)).body.openapi, '3.1.0')
})

test('limits and status; a tenant sees of the host only its data port', async (t) => {
  const { call, tokenFor } = await openApi(t, { ceilings: (tenant) => ({ cpuMs: tenant === 'shop' ? 70 : 100 }) })
  const limits = (await call('GET', '/v1/limits')).body
  assert.deepEqual([limits.limits.bundleBytes, limits.ceilings], [100_000, { cpuMs: 100 }])
  const { cpuMs, startMs } = limits.details
  assert.deepEqual([cpuMs.default, cpuMs.value, cpuMs.ceiling, cpuMs.min, cpuMs.max, cpuMs.unit], [50, 50, 100, 1, 600_000, 'ms'])
  assert.deepEqual([startMs.ceiling, startMs.code, limits.details.timers.code], [null, 'start_failed', null])
  assert.equal((await call('GET', '/v1/limits?tenant=shop')).body.details.cpuMs.ceiling, 70)
  assert.deepEqual((await call('GET', '/v1/status')).body, { dataPort: 8080, workers: 2, ready: true })
  const token = await tokenFor('shop', 'read')
  assert.deepEqual((await call('GET', '/v1/status', { token })).body, { dataPort: 8080, ready: true })
})
