import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { createHost, SkepError, toNodeHandler } from '../host/index.ts'
import type { Host, HostOptions } from '../host/index.ts'
import { send } from './http-client.ts'

async function open(t: TestContext, options: HostOptions = {}): Promise<{ host: Host; folder: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'skep-library-'))
  // Bodies of megabytes take tens of ms of CPU time where the machine is shared; what they may take is not asked here.
  const host = await createHost({ data: folder, limits: { cpuMs: 1_000 }, ...options })
  t.after(async () => {
    await host.close()
    await rm(folder, { recursive: true, force: true })
  })
  return { host, folder }
}

const isCode = (code: string, text?: RegExp) => (error: unknown) =>
  error instanceof SkepError && error.code === code && (text === undefined || text.test(error.message))

const ECHO = `export default {
  async fetch(request, env) {
    const path = new URL(request.url).pathname
    if (path === '/echo') return new Response(request.body, { headers: { 'x-method': request.method } })
    if (path === '/hang') return new Promise((_, reject) => request.signal.addEventListener('abort', () => { console.warn('aborted'); reject(request.signal.reason) }))
    if (path === '/forever') return new Response(new ReadableStream({ pull(c) { c.enqueue(new Uint8Array(10_000)) }, cancel() { console.warn('cancelled') } }))
    if (path === '/size') return new Response(String((await request.arrayBuffer()).byteLength))
    if (path === '/big') return new Response(new Uint8Array(8_000_000).fill(97))
    if (path === '/not-modified') return new Response(null, { status: 304, headers: { etag: '"a"' } })
    if (path === '/headers') return Response.json(Object.fromEntries(request.headers))
    if (path === '/slow') { await new Promise((done) => setTimeout(done, 300)); return new Response('slow') }
    console.log('served', path)
    return new Response('hello ' + (env.NAME ?? ''))
  },
}`

for (const placement of ['cell', 'inline'] as const) {
  test(`${placement}: deploy, fetch, streams, aborts, logs, metrics`, { timeout: 60_000 }, async (t) => {
    const { host, folder } = await open(t, { placement })
    const logs: string[] = []
    const logged = (text: string) =>
      logs.includes(text)
        ? undefined
        : new Promise<void>((resolve) => host.on('log', (entry) => entry.text === text && resolve()))
    host.on('log', (entry) => logs.push(entry.text))
    const isolates: string[] = []
    host.on('isolate', (change) => isolates.push(`${change.what} ${change.function}`))

    const { urls, version } = await host.deploy('echo', { code: ECHO, hosts: ['echo.test'], vars: { NAME: 'Ada' } })
    assert.deepEqual(urls, ['http://echo.test/'])
    assert.match(version, /^[0-9a-f]{16}$/)
    const hello = await host.fetch('http://echo.test/hi')
    assert.deepEqual([hello.status, await hello.text()], [200, 'hello Ada'])
    await logged('served /hi')
    assert.deepEqual(isolates, ['started default/echo'])

    let sent = 0
    const body = new ReadableStream({
      pull(controller) {
        if (sent >= 4_000_000) controller.close()
        else controller.enqueue(new Uint8Array(50_000).fill(sent / 50_000))
        sent += 50_000
      },
    })
    const echoed = await host.fetch('http://echo.test/echo', { method: 'POST', body, duplex: 'half' })
    assert.equal(echoed.headers.get('x-method'), 'POST')
    assert.ok(sent < 4_000_000, 'the answer begins before the request has ended')
    const bytes = new Uint8Array(await echoed.arrayBuffer())
    assert.equal(bytes.length, 4_000_000)
    for (let i = 0; i < bytes.length; i += 9_999) assert.equal(bytes[i], Math.floor(i / 50_000))
    const size = await host.fetch('http://echo.test/size', { method: 'PUT', body: new Uint8Array(5_000_000) })
    assert.equal(await size.text(), '5000000')
    assert.equal((await (await host.fetch('http://echo.test/big')).arrayBuffer()).byteLength, 8_000_000)

    const controller = new AbortController()
    const hanging = host.fetch('http://echo.test/hang', { signal: controller.signal })
    await host.fetch('http://echo.test/')
    const aborted = logged('aborted')
    controller.abort(new Error('enough'))
    await assert.rejects(hanging, /enough/)
    await aborted
    await assert.rejects(host.fetch('http://echo.test/', { signal: AbortSignal.abort() }), { name: 'AbortError' })
    const forever = await host.fetch('http://echo.test/forever')
    const reader = forever.body!.getReader()
    await reader.read()
    const cancelled = logged('cancelled')
    await reader.cancel()
    await cancelled

    const notModified = await host.fetch('http://echo.test/not-modified')
    assert.deepEqual([notModified.status, notModified.headers.get('etag'), notModified.body], [304, '"a"', null])
    for (const path of ['/big', '/forever']) {
      const head = await host.fetch(`http://echo.test${path}`, { method: 'HEAD' })
      assert.deepEqual([head.status, head.body], [200, null])
    }
    const request = new Request('http://echo.test/headers', {
      headers: { 'skep-request-id': 'forged', 'Skep-Error': 'x', 'x-a': '1' },
    })
    const seen = await host.fetch(request)
    const headers = (await seen.json()) as Record<string, string>
    assert.deepEqual(Object.keys(headers).toSorted(), ['host', 'skep-request-id', 'x-a'])
    assert.equal(headers['skep-request-id'], seen.headers.get('skep-request-id'))
    assert.equal((await host.fetch('http://ECHO.test./')).status, 200)
    assert.equal((await host.fetch('http://other.test/')).headers.get('skep-error'), 'unknown_host')

    const main = join(folder, 'file.ts')
    await writeFile(main, `export default { fetch: (r: Request): Response => new Response('from a file') }`)
    await host.deploy('file', { main, hosts: ['file.test'] })
    assert.equal(await (await host.fetch('http://file.test/')).text(), 'from a file')

    const metrics = await host.metrics()
    assert.match(metrics, /skep_requests_total\{[^}]*code="200"[^}]*\} \d+/)
    assert.match(metrics, /skep_isolates\{state="ready"\} 2/)
  })
}

test('a new deployment answers at once, and a rollback brings the old one back', async (t) => {
  const { host } = await open(t)
  const code = (text: string) => `export default { fetch: () => new Response('${text}') }`
  const ask = async () => (await host.fetch('http://a.test/')).text()
  const first = await host.deploy('a', { code: code('one'), hosts: ['a.test'] })
  assert.equal(await ask(), 'one')
  const second = await host.deploy('a', { code: code('two') })
  assert.equal(await ask(), 'two')
  await host.registry.rollback('default', 'a', { by: 'test' })
  assert.equal(await ask(), 'one')
  assert.notEqual(first.version, second.version)
  assert.equal((await host.deploy('a', { code: code('one') })).version, first.version)
  for (const bad of [
    `export default {`,
    `throw new Error('top'); export default { fetch() {} }`,
    `export default { fetch: 1 }`,
    `for (;;); export default {}`,
  ]) {
    await assert.rejects(host.deploy('a', { code: bad }), (error: SkepError) =>
      ['bundle_failed', 'start_failed'].includes(error.code),
    )
    assert.equal(await ask(), 'one')
  }
})

test('a deploy that is refused changes nothing', async (t) => {
  const { host } = await open(t)
  const code = `export default { fetch: () => new Response('ok') }`
  await host.deploy('a', { code, hosts: ['*.example.com', 'a.test'] })
  const refused: [string, object, string][] = [
    ['../x', { code }, 'invalid_name'],
    ['b', { code, tenant: 'A' }, 'invalid_name'],
    ['b', { code, hosts: ['b.test', 'http://b.test/'] }, 'invalid_hostname'],
    ['b', { code, hosts: ['b.test', 'a.test'], tenant: 'rival' }, 'route_conflict'],
    ['b', { code, hosts: ['shop.example.com'], tenant: 'rival' }, 'route_conflict'],
    ['b', {}, 'invalid_request'],
    ['b', { code, main: 'x.ts' }, 'invalid_request'],
    ['b', { code, host: 'b.test' }, 'invalid_request'],
    ['b', { code, limits: { memoryMb: 100_000 } }, 'invalid_request'],
    ['b', { code, limits: { memoryMb: 1_000 } }, 'invalid_request'],
    ['b', { code, limits: { concurrency: 0.5 } }, 'invalid_request'],
    ['b', { code, limits: { cpu: 1 } }, 'invalid_request'],
    ['b', { code, limits: { cpuMs: NaN } }, 'invalid_request'],
    ['b', { code, limits: { cpuMs: Infinity } }, 'invalid_request'],
    ['b', { code, limits: { cpuMs: '50' } }, 'invalid_request'],
    ['b', { code, vars: { A: 1 } }, 'invalid_request'],
  ]
  for (const [name, options, expected] of refused)
    await assert.rejects(host.deploy(name, options), isCode(expected), JSON.stringify(options))
  assert.deepEqual((await host.registry.functions('default')).items.map((item) => item.name), ['a']) // prettier-ignore
  assert.deepEqual((await host.registry.functions('rival')).items, [])
  assert.equal((await host.fetch('http://b.test/')).status, 404)
})

test('options that nobody knows are invalid_config, and name their key', async () => {
  const bad: [object, RegExp][] = [
    [{ stroe: 'file:x' }, /stroe/],
    [{ limits: { cpums: 1 } }, /limits.*cpums/],
    [{ limits: { cpuMs: -1 } }, /limits\.cpuMs/],
    [{ placement: 'outline' }, /placement/],
    [{ pool: { maxIsolates: 0 } }, /pool\.maxIsolates/],
  ]
  for (const [options, text] of bad) await assert.rejects(createHost(options as HostOptions), isCode('invalid_config', text))
})

test('inline without its flag says what to type', async () => {
  const index = join(import.meta.dirname, '../host/index.ts')
  const script = `import { createHost } from ${JSON.stringify(index)}; createHost({ placement: 'inline' }).catch((e) => console.log(e.code, e.message))`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'], env: {} })
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  await once(child, 'close')
  assert.match(text, /^missing_flag .*node --no-node-snapshot /)
})

test('settings that only skep serve has are refused, and not ignored', async () => {
  for (const [name, value] of Object.entries({ port: 80, workers: 2, tls: {}, address: '0.0.0.0', api: {} }))
    await assert.rejects(createHost({ [name]: value }), isCode('invalid_config', new RegExp(name)))
})

test('it listens, serves node:http, and what was accepted before close() is answered', async (t) => {
  const { host } = await open(t)
  await host.deploy('echo', { code: ECHO, hosts: ['echo.test'] })
  const { port } = await host.listen({ port: 0 })
  await assert.rejects(host.listen({ port }), isCode('port_in_use'))
  assert.equal((await send(port, 'echo.test', '/hi')).text, 'hello ')
  assert.equal((await send(port, 'echo.test', '/size', { body: new Uint8Array(3_000_000) })).text, '3000000')
  for (const size of [1, 65_536, 65_537, 262_144]) {
    assert.equal((await send(port, 'echo.test', '/size', { body: new Uint8Array(size) })).text, String(size))
  }
  const own = createServer(toNodeHandler(host)).listen(0, '127.0.0.1')
  await once(own, 'listening')
  t.after(() => own.close())
  const { port: ownPort } = own.address() as AddressInfo
  for (const size of [1, 65_536, 65_537, 262_144, 3_000_000]) {
    assert.equal((await send(ownPort, 'echo.test', '/size', { body: new Uint8Array(size) })).text, String(size))
  }
  const forged = await send(port, 'echo.test', '/headers', { headers: { 'skep-request-id': 'forged', 'skep-error': 'x' } })
  assert.equal((JSON.parse(forged.text) as Record<string, string>)['skep-request-id'], forged.headers['skep-request-id'])

  const slow = [
    send(port, 'echo.test', '/slow'),
    send(ownPort, 'echo.test', '/slow'),
    host.fetch('http://echo.test/slow').then((r) => r.text()),
  ]
  await send(port, 'echo.test', '/')
  const closed = host.close()
  assert.equal(closed, host.close())
  const answers = await Promise.all(slow)
  assert.deepEqual(answers.map((answer) => (typeof answer === 'string' ? answer : answer.text)), ['slow', 'slow', 'slow']) // prettier-ignore
  await closed
  assert.equal((await host.fetch('http://echo.test/')).headers.get('skep-error'), 'draining')
  await host[Symbol.asyncDispose]()
})

test('500 functions, of which 100 are loaded at most, each answer right in any order', { timeout: 120_000 }, async (t) => {
  const { host } = await open(t, { pool: { maxIsolates: 100 } })
  const names = Array.from({ length: 500 }, (_, i) => `f${i}`)
  const deploy = (name: string) =>
    host.deploy(name, { code: `export default { fetch: () => new Response('I am ${name}') }`, hosts: [`${name}.test`] })
  for (let i = 0; i < names.length; i += 20) await Promise.all(names.slice(i, i + 20).map(deploy))
  let seed = 1
  const random = () => (seed = (seed * 48_271) % 2_147_483_647)
  const ask = async (name: string) => assert.equal(await (await host.fetch(`http://${name}.test/`)).text(), `I am ${name}`)
  for (let round = 0; round < 60; round++) {
    await Promise.all(Array.from({ length: 20 }, () => ask(names[random() % 500]!)))
    const metrics = await host.metrics()
    const count = (state: string) => Number(new RegExp(`skep_isolates\\{state="${state}"\\} (\\d+)`).exec(metrics)![1])
    assert.ok(count('ready') + count('loading') + count('draining') <= 100)
  }
  assert.match(await host.metrics(), /skep_isolate_evictions_total\{reason="count"\} [1-9]/)
})

test('a listener that throws costs nobody a request', async (t) => {
  const { host } = await open(t)
  const warned = once(process, 'warning')
  host.on('log', () => {
    throw new Error('of the listener')
  })
  await host.deploy('echo', { code: ECHO, hosts: ['echo.test'] })
  assert.equal((await host.fetch('http://echo.test/')).status, 200)
  assert.match(String((await warned)[0]), /of the listener/)
  assert.equal((await host.fetch('http://echo.test/')).status, 200)
})
