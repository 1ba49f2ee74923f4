/** The control API under requests that are none: whatever comes, a problem document of the caller's, never one of ours, and no hang. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { TestContext } from 'node:test'
import * as fc from 'fast-check'
import { bundleOf, openApi } from '../../control-api/test-support/host.ts'
import { checkBundle } from '../../host/check.ts'
import { configSchema } from '../../host/config.ts'
import { ERRORS, SkepError } from '../../host/errors.ts'
import { createInlineFactory } from '../../sandbox/inline.ts'
import { mutatedBundle, operationsOf, requestTo, uploads, valueOf } from './api.ts'
import type { Sent } from './api.ts'
import { runs } from './runs.ts'

const SOUND = '({ default: { fetch: () => new Response("x") } })'

async function open(t: TestContext) {
  const host = await openApi(t)
  const document = host.api.openapi()
  const operations = operationsOf(document)
  /** Sends it and judges the answer. */
  const send = async ({ method, path, headers, body }: Sent): Promise<void> => {
    const lines = host.lines.length
    const all = new Headers({ authorization: `Bearer ${host.operator}`, ...headers })
    const request = new Request(`http://127.0.0.1:8081${path}`, { method, headers: all, ...(body === undefined ? {} : { body }) })
    const response = await host.api.fetch(request)
    const text = await response.text()
    const shown = `${method} ${path} ${JSON.stringify(headers)}: ${response.status} ${text.slice(0, 300)}`
    for (const line of host.lines.slice(lines)) assert.ok(Number(line['level']) < 50, `${shown}: ${JSON.stringify(line)}`)
    assert.equal(({} as { role?: unknown }).role, undefined)
    // What a function answers has its own status.
    if (response.headers.has('skep-function')) return
    assert.ok(response.status < 500, shown)
    assert.ok(response.headers.has('x-request-id'), shown)
    if (response.status < 400) return
    assert.equal(response.headers.get('content-type'), 'application/problem+json', shown)
    const problem = JSON.parse(text) as { code: keyof typeof ERRORS; status: number; detail: string; requestId: string }
    assert.ok(problem.code in ERRORS && problem.code !== 'internal', shown)
    assert.equal(problem.status, response.status, shown)
    assert.ok(problem.detail.length < 20_000, `${shown} has ${problem.detail.length} characters`)
  }
  return { ...host, document, operations, send }
}

suite('the API', { timeout: 600_000 }, () => {
  test('random requests to every operation', async (t) => {
    const { document, operations, send, deploy } = await open(t)
    await deploy('hello', SOUND)
    assert.ok(operations.length > 10)
    for (const operation of operations) {
      await t.test(`${operation.method} ${operation.path}`, () =>
        fc.assert(fc.asyncProperty(requestTo(operation, document), send), runs(120)),
      )
    }
  })

  test('requests to where nothing is', async (t) => {
    const { send } = await open(t)
    const path = fc.array(fc.constantFrom('v1', 'functions', '..', '.', '', '%2f', '%00', '%ff', '%zz', '__proto__', 'openapi.json', 'hello', '*', '?', '#', ';'), { maxLength: 6 }) // prettier-ignore
    const method = fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'HEAD', 'PROPFIND', 'x')
    await fc.assert(
      fc.asyncProperty(method, path, async (of, parts) => {
        if (of !== 'HEAD') await send({ method: of, path: `/${parts.join('/')}`, headers: {}, body: undefined })
      }),
      runs(500),
    )
  })

  test('uploads', async (t) => {
    const { document, operations, send } = await open(t)
    const upload = operations.find(({ bodies }) => 'multipart/form-data' in bodies)!
    const schema = upload.bodies['multipart/form-data'] as { properties: { metadata: unknown } }
    const metadata = fc.oneof(
      valueOf(schema.properties.metadata, document).map((value) => JSON.stringify(value) ?? ''),
      fc.constantFrom('', 'null', '[]', '{"limits":{"cpuMs":NaN}}', '{"limits":{"cpuMs":1e999}}', '{"__proto__":{}}', '['.repeat(50_000), '{"vars":{"__proto__":"x"}}', '{"tag":"\\ud800"}'), // prettier-ignore
    )
    const sound = bundleOf(SOUND, { modules: { 'a.bin': new Uint8Array(4) }, sourceMap: '{}' })
    await fc.assert(
      fc.asyncProperty(uploads(mutatedBundle(sound), metadata), ({ type, body }) =>
        send({ method: 'POST', path: '/v1/functions/hello/versions', headers: { 'content-type': type }, body }),
      ),
      runs(1_000),
    )
  })

  test('bundles that are damaged, in a real sandbox', async (t) => {
    const factory = await createInlineFactory({
      egress: { allow: [], deny: [] },
      tainted: (taint) => assert.fail(JSON.stringify(taint)),
    })
    t.after(() => factory.close())
    const config = configSchema.parse({ limits: { startMs: 2_000 } })
    const source = bundleOf('({ default: { fetch: () => new Response(String(__skep_modules["a.bin"])) } })', {
      modules: { 'a.bin': new Uint8Array(4), 'a.wasm': Buffer.from('0061736d01000000', 'hex') },
      sourceMap: '{"version":3,"sources":["a.ts"],"mappings":"AAAA"}',
    })
    await fc.assert(
      fc.asyncProperty(mutatedBundle(source), async (bytes) => {
        try {
          await checkBundle(factory, bytes, { vars: {}, limits: {}, tag: '' }, { tenant: 'acme', function: 'x', config })
        } catch (error) {
          assert.ok(error instanceof SkepError, String((error as Error).stack))
          assert.ok(['bundle_rejected', 'start_failed'].includes(error.code), `${error.code}: ${error.message}`)
        }
      }),
      runs(300),
    )
  })
})
