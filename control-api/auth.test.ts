import assert from 'node:assert/strict'
import { mkdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { openFileStore } from '../host/store/file.ts'
import { openApi, temporaryFolder } from './test-support/host.ts'
import { adminTokenFile, ensureAdminToken, Tokens } from './tokens.ts'

test('no token, a wrong one, a malformed header: 401 with WWW-Authenticate', async (t) => {
  const { call, operator } = await openApi(t)
  const wrong = [
    '',
    'Bearer',
    `Bearer ${operator.slice(0, -1)}`,
    `Bearer skep_${'A'.repeat(43)}`,
    `Basic ${operator}`,
    operator,
    `Bearer ${operator} x`,
    'Bearer ../../routes/x',
  ]
  for (const authorization of wrong) {
    for (const path of ['/v1/functions', '/v1/nothing', '/v1/status']) {
      const { status, response, body } = await call('GET', path, {
        token: '',
        headers: authorization === '' ? {} : { authorization },
      })
      assert.deepEqual(
        [status, body.code, response.headers.get('www-authenticate')],
        [401, 'unauthorized', 'Bearer realm="skep"'],
        authorization,
      )
    }
  }
})

test('roles: read reads, deploy writes, admin has tokens', async (t) => {
  const { call, upload, tokenFor } = await openApi(t)
  const read = await tokenFor('shop', 'read')
  const deploy = await tokenFor('shop', 'deploy')
  const admin = await tokenFor('shop', 'admin')
  assert.equal((await upload('hello', 'x', { token: read })).body.code, 'forbidden')
  assert.equal((await upload('hello', 'x', { token: deploy })).status, 201)
  assert.equal((await call('GET', '/v1/functions/hello', { token: read })).body.tenant, 'shop')
  for (const path of ['/v1/functions/hello', '/v1/routes/x.example.com']) {
    assert.equal((await call('DELETE', path, { token: read })).status, 403, path)
  }
  assert.equal((await call('PUT', '/v1/functions/hello/deployment', { token: read, json: {} })).status, 403)
  assert.equal((await call('POST', '/v1/functions/hello/invoke', { token: read, json: {} })).status, 403)
  for (const token of [read, deploy]) {
    assert.equal((await call('GET', '/v1/tokens', { token })).status, 403)
    assert.equal((await call('GET', '/v1/%74okens', { token })).status, 403)
    assert.equal((await call('POST', '/v1/tokens', { token, json: { name: 'x', role: 'admin' } })).status, 403)
  }
  assert.equal((await call('GET', '/v1/tokens', { token: admin })).status, 200)
})

test('tenants are apart: functions, hostnames and tokens', async (t) => {
  const { call, deploy, tokenFor } = await openApi(t)
  const red = { token: await tokenFor('red', 'admin') }
  const blue = { token: await tokenFor('blue', 'admin') }
  await deploy('hello', 'red', red)
  await deploy('hello', 'blue', blue)
  const route = { json: { function: 'hello' } }
  assert.equal((await call('PUT', '/v1/routes/m.example.com', { ...red, ...route })).body.tenant, 'red')
  const taken = await call('PUT', '/v1/routes/M.Example.com.', { ...blue, ...route })
  assert.deepEqual([taken.status, taken.body.code], [409, 'route_conflict'])
  assert.equal((await call('DELETE', '/v1/routes/m.example.com', blue)).body.code, 'route_conflict')
  assert.deepEqual((await call('GET', '/v1/routes', blue)).body, { items: [] })

  for (const chosen of [{ headers: { 'skep-tenant': 'red' } }, {}]) {
    const path = 'headers' in chosen ? '/v1/functions' : '/v1/functions?tenant=red'
    assert.equal((await call('GET', path, { ...blue, ...chosen })).body.code, 'forbidden')
  }
  assert.equal((await call('GET', '/v1/functions?tenant=blue', blue)).status, 200)

  // A cursor must not tell a tenant what others have.
  for (const host of ['a', 'n', 'z']) await call('PUT', `/v1/routes/${host}.example.com`, { ...blue, ...route })
  const page = (await call('GET', '/v1/routes?limit=1', blue)).body
  assert.deepEqual([page.items[0].hostname, page.cursor], ['a.example.com', 'a.example.com'])

  const tokens = (await call('GET', '/v1/tokens', red)).body.items
  assert.deepEqual(
    tokens.map((token: { tenant: string }) => token.tenant),
    ['red'],
  )
  const blueId = (await call('GET', '/v1/tokens', blue)).body.items[0].id
  assert.equal((await call('DELETE', `/v1/tokens/${blueId}`, red)).body.code, 'not_found')
  for (const tenant of ['blue', '*']) {
    assert.equal(
      (await call('POST', '/v1/tokens', { ...red, json: { name: 'x', role: 'admin', tenant } })).body.code,
      'forbidden',
    )
  }
})

test('an operator chooses the tenant by header or query', async (t) => {
  const { call, deploy } = await openApi(t)
  await deploy('hello', 'x', { headers: { 'skep-tenant': 'shop' } })
  assert.equal((await call('GET', '/v1/functions/hello?tenant=shop')).body.tenant, 'shop')
  assert.equal((await call('GET', '/v1/functions/hello')).body.code, 'not_found')
  assert.equal((await call('GET', '/v1/functions?tenant=..%2f..')).body.code, 'invalid_name')
})

test('tokens: created with the text once, listed without, revoked at once', async (t) => {
  const { call, store } = await openApi(t)
  const created = await call('POST', '/v1/tokens', { json: { name: 'ci', role: 'deploy', tenant: 'shop' } })
  assert.equal(created.status, 201)
  const { token, id } = created.body
  assert.match(token, /^skep_[\w-]{43}$/)
  const all = (await call('GET', '/v1/tokens')).text
  assert.ok(all.includes(id) && !all.includes(token))
  const { keys } = await store.list('')
  for (const key of keys) {
    const object = await store.get(key)
    assert.ok(object !== undefined && object !== 'unchanged')
    assert.ok(!key.includes(token) && !Buffer.from(object.bytes).toString().includes(token))
  }
  assert.equal((await call('GET', '/v1/functions', { token })).status, 200)
  assert.equal((await call('DELETE', `/v1/tokens/${id}`)).status, 204)
  assert.equal((await call('GET', '/v1/functions', { token })).status, 401)
  for (const strange of [id, '0', '%2e%2e', `${id}0`])
    assert.equal((await call('DELETE', `/v1/tokens/${strange}`)).body.code, 'not_found', strange)
  for (const json of [
    { name: '', role: 'read' },
    { name: 'a\nb', role: 'read' },
    { name: 'x', role: 'root' },
    { name: 'x' },
    { name: 'x', role: 'read', a: 1 },
  ]) {
    assert.equal((await call('POST', '/v1/tokens', { json })).body.code, 'invalid_request')
  }
  assert.equal(
    (await call('POST', '/v1/tokens', { json: { name: 'x', role: 'read', tenant: 'A/../B' } })).body.code,
    'invalid_name',
  )
})

test('another host believes a lookup for less than 2 s, found or not', async (t) => {
  const store = await openFileStore(join(await temporaryFolder(t), 'store'))
  let now = 0
  const here = new Tokens(store)
  const elsewhere = new Tokens(store, () => now)
  const { text, record } = await here.create({ name: 'x', tenant: 'shop', role: 'read' })
  const get = t.mock.method(store, 'get')
  assert.equal((await elsewhere.find(text))?.id, record.id)
  await Promise.all([elsewhere.find(text), elsewhere.find(text)])
  assert.equal(get.mock.callCount(), 1)
  await here.revoke(record.id)
  now = 1_999
  assert.equal(await elsewhere.find(text), undefined)
  const calls = get.mock.callCount()
  assert.equal(await elsewhere.find(text), undefined)
  assert.equal(get.mock.callCount(), calls)
  assert.equal(await elsewhere.find('skep_short'), undefined)
  assert.equal(get.mock.callCount(), calls)
})

test('a lookup that failed is not remembered', async (t) => {
  const store = await openFileStore(join(await temporaryFolder(t), 'store'))
  const tokens = new Tokens(store)
  const { text } = await tokens.create({ name: 'x', tenant: 'shop', role: 'read' })
  const get = t.mock.method(store, 'get', async () => {
    throw new Error('away')
  })
  await assert.rejects(tokens.find(text), /away/)
  get.mock.restore()
  assert.equal((await tokens.find(text))?.name, 'x')
})

test('the first start makes an admin token, later ones none; two at once both work', async (t) => {
  const dir = await temporaryFolder(t)
  const store = await openFileStore(join(dir, 'store'))
  const folders = [join(dir, 'a'), join(dir, 'b')]
  await mkdir(folders[0]!)
  const made = await Promise.all(folders.map((folder) => ensureAdminToken(store, folder)))
  const tokens = new Tokens(store)
  let valid = 0
  for (const [index, one] of made.entries()) {
    if (one === undefined) continue
    const file = adminTokenFile(folders[index]!)
    assert.equal(await readFile(file, 'utf8'), `${one.text}\n`)
    assert.equal((await stat(file)).mode & 0o777, 0o600)
    const { tenant, role } = (await tokens.find(one.text))!
    assert.deepEqual([tenant, role], ['*', 'admin'])
    valid++
  }
  assert.ok(valid >= 1)
  assert.equal(await ensureAdminToken(store, join(dir, 'c')), undefined)
})

test('a start that was cut off before the store had the token makes another', async (t) => {
  const dir = await temporaryFolder(t)
  const store = await openFileStore(join(dir, 'store'))
  const put = t.mock.method(store, 'put', async () => {
    throw new Error('cut off')
  })
  await assert.rejects(ensureAdminToken(store, dir), /cut off/)
  put.mock.restore()
  const made = await ensureAdminToken(store, dir)
  assert.equal(await readFile(adminTokenFile(dir), 'utf8'), `${made!.text}\n`)
})
