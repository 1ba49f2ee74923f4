import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hashBytes } from '../bundler/artifact.ts'
import { bundleOf, form, openApi } from './test-support/host.ts'
import type { Call } from './test-support/host.ts'

const PATH = '/v1/functions/hello/versions'

test('the hash of the metadata is checked', async (t) => {
  const { call } = await openApi(t)
  const bundle = bundleOf('x')
  const lie = await call('POST', PATH, { body: form({ sha256: 'f'.repeat(64) }, bundle) })
  assert.deepEqual([lie.status, lie.body.code], [422, 'bundle_rejected'])
  assert.equal((await call('POST', PATH, { body: form({ sha256: hashBytes(bundle) }, bundle) })).status, 201)
})

test('garbage is no bundle', async (t) => {
  const { call } = await openApi(t)
  const good = Buffer.from(bundleOf('x'))
  const cut = new Uint8Array(good.subarray(0, good.length - 1))
  for (const bytes of ['', 'garbage', 'skep-bundle 1\n', 'skep-bundle 1\n{"code":-1}\n', cut]) {
    const { status, body } = await call('POST', PATH, { body: form({}, bytes) })
    assert.deepEqual([status, body.code], [422, 'bundle_rejected'], String(bytes))
  }
  assert.equal((await call('GET', '/v1/functions/hello')).status, 404)
})

test('what does not start is refused with the reason and stored nowhere', async (t) => {
  const { call, upload } = await openApi(t)
  const { status, body } = await upload('hello', 'throw 1')
  assert.deepEqual([status, body.code], [422, 'start_failed'])
  assert.match(body.detail, /at index.ts:1:7/)
  assert.equal((await call('GET', '/v1/functions/hello')).status, 404)
})

test('malformed uploads are refused', async (t) => {
  const { call } = await openApi(t)
  const twice = form({}, bundleOf('x'))
  twice.append('bundle', new Blob(['y']))
  const strange = form({}, bundleOf('x'))
  strange.set('extra', '1')
  const noBundle = new FormData()
  noBundle.set('metadata', '{}')
  const multipart = (body: string) => ({ body, headers: { 'content-type': 'multipart/form-data; boundary=b' } })
  const bad: Record<string, Call> = {
    'no body': { headers: { 'content-type': 'multipart/form-data; boundary=b' } },
    'no multipart': { body: 'x', headers: { 'content-type': 'application/octet-stream' } },
    'no boundary': { body: 'x', headers: { 'content-type': 'multipart/form-data' } },
    'cut off': multipart('--b\r\ncontent-disposition: form-data; name="metadata"\r\n\r\n{'),
    'no parts': multipart('--b--\r\n'),
    noise: multipart('\0\0\0'),
    twice: { body: twice },
    strange: { body: strange },
    'no bundle': { body: noBundle },
    'metadata that is no JSON': { body: form('{', bundleOf('x')) },
    'metadata that is no object': { body: form('[]', bundleOf('x')) },
    'an unknown key': { body: form({ vras: {} }, bundleOf('x')) },
    'an unknown limit': { body: form({ limits: { cpu: 1 } }, bundleOf('x')) },
    'a bad limit': { body: form({ limits: { cpuMs: -1 } }, bundleOf('x')) },
    'a bad variable': { body: form({ vars: { 'a b': '1' } }, bundleOf('x')) },
    'a variable that is no text': { body: form({ vars: { A: 1 } }, bundleOf('x')) },
    'a long tag': { body: form({ tag: 'x'.repeat(101) }, bundleOf('x')) },
  }
  for (const [what, given] of Object.entries(bad)) {
    const { status, body } = await call('POST', PATH, given)
    assert.deepEqual([status, body.code], [400, 'invalid_request'], what)
  }
})

test('more than the tenant’s ceiling is refused, with what is allowed', async (t) => {
  const { call } = await openApi(t, { ceilings: (tenant) => ({ cpuMs: tenant === 'shop' ? 200 : 100 }) })
  const { status, body } = await call('POST', PATH, { body: form({ limits: { cpuMs: 101 } }, bundleOf('x')) })
  assert.deepEqual([status, body.code, body.details], [400, 'invalid_request', { limit: 'cpuMs', allowed: 100 }])
  assert.equal((await call('POST', PATH, { body: form({ limits: { cpuMs: 100 } }, bundleOf('x')) })).status, 201)
  const shop = `${PATH}?tenant=shop`
  assert.equal((await call('POST', shop, { body: form({ limits: { cpuMs: 200 } }, bundleOf('x')) })).status, 201)
  assert.equal((await call('POST', shop, { body: form({ limits: { cpuMs: 201 } }, bundleOf('x')) })).body.details.allowed, 200)
})

test('a limit that makes no sense is refused, with the range', async (t) => {
  const { call } = await openApi(t)
  for (const value of ['-1', '0', '1e999', '"50"', 'null', 'true', '1e300', '[1]']) {
    const metadata = `{"limits":{"memoryMb":${value}}}`
    const { status, body } = await call('POST', PATH, { body: form(metadata, bundleOf('x')) })
    assert.deepEqual([status, body.code], [400, 'invalid_request'], value)
    assert.match(body.detail, /limits\.memoryMb: must be a number from 8 to 4096 \(MB\)/, value)
  }
})

test('a bundle over the limit is refused', async (t) => {
  const { call } = await openApi(t)
  const { status, body } = await call('POST', PATH, { body: form({}, bundleOf('x'.repeat(100_001))) })
  assert.deepEqual([status, body.code, body.details.allowed], [413, 'bundle_too_large', 100_000])
})

test('an endless upload is cut while it streams in', async (t) => {
  const { call } = await openApi(t)
  let pulled = 0
  let cancelled = false
  const head = '--b\r\ncontent-disposition: form-data; name="bundle"; filename="x"\r\n\r\n'
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(Buffer.from(head)),
    pull(controller) {
      pulled += 65_536
      controller.enqueue(new Uint8Array(65_536))
    },
    cancel() {
      cancelled = true
    },
  })
  const answer = await call('POST', PATH, { body, headers: { 'content-type': 'multipart/form-data; boundary=b' } })
  assert.deepEqual([answer.status, answer.body.code], [413, 'bundle_too_large'])
  assert.ok(pulled < 2_000_000, `${pulled} bytes were taken`)
  assert.ok(cancelled)
})

test('a declared length over the limit is refused unread', async (t) => {
  const { call } = await openApi(t)
  const body = new ReadableStream<Uint8Array>({ pull: () => assert.fail('read') }, { highWaterMark: 0 })
  const headers = { 'content-type': 'multipart/form-data; boundary=b', 'content-length': '5000000' }
  assert.equal((await call('POST', PATH, { body, headers })).status, 413)
})
