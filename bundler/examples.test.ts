import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, test } from 'node:test'
import vm from 'node:vm'
import { bundle, BUNDLE_FILENAME, closeBundler } from './bundle.ts'

after(closeBundler)

/** The web's globals of Node.js stand in for those of the sandbox. */
async function load(name: string): Promise<(request: Request, env?: object) => Response | Promise<Response>> {
  const { bundle: made, warnings } = await bundle({ main: join(import.meta.dirname, `../examples/${name}/index.ts`) })
  assert.deepEqual(warnings, [])
  const namespace = vm.runInThisContext(made.code, { filename: BUNDLE_FILENAME })
  return (request, env = {}) => namespace.default.fetch(request, env, { waitUntil() {} })
}

test('hello', async () => {
  const fetch = await load('hello')
  assert.equal(await (await fetch(new Request('http://hello.localhost/'), { GREETING: 'Hi' })).text(), 'Hi, world!\n')
  assert.equal(await (await fetch(new Request('http://hello.localhost/?name=Ada'))).text(), 'Hello, Ada!\n')
})

test('hono', async () => {
  const fetch = await load('hono')
  const post = (body: string) => fetch(new Request('http://hono.localhost/greetings', { method: 'POST', body }))
  assert.deepEqual(await (await fetch(new Request('http://hono.localhost/planets/mars'))).json(), { name: 'mars', moons: 2 })
  assert.equal((await fetch(new Request('http://hono.localhost/planets/pluto'))).status, 404)
  assert.equal((await fetch(new Request('http://hono.localhost/none'))).status, 404)
  assert.deepEqual(await (await post('{"name":"Ada"}')).json(), { greeting: 'Hello, Ada!' })
  assert.deepEqual([(await post('{}')).status, (await post('{')).status], [400, 400])
})

test('streaming', async () => {
  const fetch = await load('streaming')
  const response = await fetch(new Request('http://streaming.localhost/upper?lines=3&interval=1'))
  const chunks: string[] = []
  for await (const chunk of response.body!) chunks.push(Buffer.from(chunk as Uint8Array).toString())
  assert.deepEqual(chunks, ['LINE 1 OF 3\n', 'LINE 2 OF 3\n', 'LINE 3 OF 3\n'])
})

test('echo', async () => {
  const fetch = await load('echo')
  const post = (path: string) => fetch(new Request(`http://echo.localhost${path}`, { method: 'POST', body: 'abc' }))
  assert.equal(await (await post('/body')).text(), 'abc')
  const described = (await (await post('/x?a=1')).json()) as Record<string, unknown>
  const { method, path, query, body } = described
  assert.deepEqual({ method, path, query, body }, { method: 'POST', path: '/x', query: { a: '1' }, body: 'abc' })
})
