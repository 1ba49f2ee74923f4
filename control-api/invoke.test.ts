import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SkepError } from '../host/errors.ts'
import { openApi } from './test-support/host.ts'

const PATH = '/v1/functions/hello/invoke'

test('a described request goes through the function, and its answer comes back as it is', async (t) => {
  const { call, deploy } = await openApi(t)
  const id = await deploy('hello', 'x')
  const json = { path: '/a?b=1', method: 'PUT', headers: { 'content-type': 'text/x' }, data: 'body' }
  const { status, body, response } = await call('POST', PATH, { json })
  assert.equal(status, 200)
  assert.deepEqual(body, {
    tenant: 'default',
    fn: 'hello',
    method: 'PUT',
    url: 'http://hello.localhost/a?b=1',
    type: 'text/x',
    body: 'body',
  })
  assert.deepEqual([response.headers.get('skep-function'), response.headers.get('connection')], ['default/hello', null])
  assert.equal((await call('POST', PATH, { json: {} })).body.method, 'GET')
  assert.equal((await call('POST', `${PATH}?version=${id}`, { json: {} })).body.version, id)
  const teapot = await call('POST', PATH, { json: { path: '/status/418' } })
  assert.deepEqual([teapot.status, teapot.response.headers.has('skep-function')], [418, true])
  assert.equal(
    (await call('POST', PATH, { json: { path: '//other.example.com/x' } })).body.url,
    'http://hello.localhost//other.example.com/x',
  )
})

test('a raw body is the request’s own', async (t) => {
  const { call, deploy } = await openApi(t)
  await deploy('hello', 'x')
  const { body } = await call('POST', `${PATH}?path=/in&method=PUT`, { body: 'raw', headers: { 'content-type': 'text/csv' } })
  assert.deepEqual([body.method, body.url, body.type, body.body], ['PUT', 'http://hello.localhost/in', 'text/csv', 'raw'])
})

test('what cannot be sent is refused', async (t) => {
  const { call, deploy, upload } = await openApi(t)
  await deploy('hello', 'x')
  const bad = [
    { path: 'x' },
    { path: 1 },
    { method: 'CONNECT' },
    { method: 'A B' },
    { headers: { 'a b': '1' } },
    { headers: { a: 'x\ny' } },
    { method: 'GET', data: 'x' },
    { pth: '/' },
  ]
  for (const json of bad) {
    const { status, body } = await call('POST', PATH, { json })
    assert.deepEqual([status, body.code], [400, 'invalid_request'], JSON.stringify(json))
  }
  assert.equal(
    (await call('POST', PATH, { body: '{', headers: { 'content-type': 'application/json' } })).body.code,
    'invalid_request',
  )
  assert.equal((await call('POST', `${PATH}?version=0000000000000000`, { json: {} })).body.code, 'not_found')
  assert.equal((await call('POST', '/v1/functions/none/invoke', { json: {} })).body.code, 'not_found')
  await upload('idle', 'x')
  const idle = await call('POST', '/v1/functions/idle/invoke', { json: {} })
  assert.deepEqual([idle.status, idle.body.code], [404, 'not_found'])
})

test('bodies over the limit are refused, declared or streamed', async (t) => {
  const { call, deploy } = await openApi(t)
  await deploy('hello', 'x')
  const stream = () =>
    new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new Uint8Array(65_536)),
    })
  for (const type of ['text/plain', 'application/json']) {
    const headers = { 'content-type': type }
    const streamed = await call('POST', PATH, { body: stream(), headers })
    assert.deepEqual([streamed.status, streamed.body.code], [413, 'body_too_large'], type)
    const declared = await call('POST', PATH, { body: stream(), headers: { ...headers, 'content-length': '2000000' } })
    assert.equal(declared.status, 413, type)
  }
})

test('a host that cannot run it answers its own code', async (t) => {
  const { call, deploy } = await openApi(t, {
    invoke: async () => {
      throw new SkepError('draining', 'The host is ending.')
    },
  })
  await deploy('hello', 'x')
  const { status, body, response } = await call('POST', PATH, { json: {} })
  assert.deepEqual([status, body.code, response.headers.has('skep-function')], [503, 'draining', false])
})
