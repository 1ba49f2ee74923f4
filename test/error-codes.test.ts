import assert from 'node:assert/strict'
import { STATUS_CODES } from 'node:http'
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { encodeBundle } from '../bundler/artifact.ts'
import { bundle as build } from '../bundler/bundle.ts'
import { DATA_CODES } from '../host/answer.ts'
import { CellFactory } from '../host/cell.ts'
import { ConductBook } from '../host/conduct-book.ts'
import { configSchema } from '../host/config.ts'
import { ERRORS, SkepError } from '../host/errors.ts'
import type { ErrorCode } from '../host/errors.ts'
import { HostCore } from '../host/host.ts'
import { createHost } from '../host/index.ts'
import type { Host } from '../host/index.ts'
import { listen } from '../host/listener/choose.ts'
import type { Listener } from '../host/listener/listener.ts'
import { silentLog } from '../host/log.ts'
import { loopIdOf, MOST_PASSES } from '../host/loop.ts'
import { Counters } from '../host/metrics.ts'
import { keys } from '../host/records.ts'
import { Registry } from '../host/registry.ts'
import { openFileStore } from '../host/store/file.ts'
import type { Store, StoredObject } from '../host/store/store.ts'
import { send, sendRaw } from './http-client.ts'
import type { Answer } from './http-client.ts'

/** Every code that a caller on the data port can get, provoked through it: contract §8. */

const CODE = `
export default {
  async fetch(request, env) {
    switch (new URL(request.url).pathname) {
      case '/throw': throw new Error('secret')
      case '/reject': return Promise.reject('secret')
      case '/nothing': return
      case '/text': return 'no Response'
      case '/error-response': return Response.error()
      case '/spin': for (;;);
      case '/grow': for (const list = []; ; await new Promise((resolve) => setTimeout(resolve))) list.push(new Array(100_000).fill(list.length))
      case '/never': return new Promise(() => {})
      case '/slow': await new Promise((resolve) => setTimeout(resolve, 1_500)); return new Response('slow')
      case '/upload': return new Response(String((await request.arrayBuffer()).byteLength))
    }
    return new Response('ok')
  },
}
`
const PLAIN = `export default { fetch: () => new Response('ok') }`

class FaultyStore implements Store {
  readonly #inner: Store
  readonly description = 'faulty'
  fault: ((key: string) => void) | undefined

  constructor(inner: Store) {
    this.#inner = inner
  }

  async get(key: string, options?: { ifNoneMatch?: string }): Promise<StoredObject | 'unchanged' | undefined> {
    this.fault?.(key)
    return this.#inner.get(key, options)
  }

  put(...args: Parameters<Store['put']>): Promise<string> {
    return this.#inner.put(...args)
  }

  delete(...args: Parameters<Store['delete']>): Promise<void> {
    return this.#inner.delete(...args)
  }

  list(...args: Parameters<Store['list']>) {
    return this.#inner.list(...args)
  }

  close(): Promise<void> {
    return this.#inner.close()
  }
}

let folder: string
let host: Host
let port: number
let store: FaultyStore
let factory: CellFactory
let core: HostCore
let listener: Listener
const provoked = new Set<ErrorCode>()

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'skep-codes-'))
  // Deploys into the same folder that the host below serves: that one has parts which a test can break.
  host = await createHost({ store: `file:${folder}`, limits: { concurrency: 4 } })
  const deploy = (name: string, code: string, limits = {}) => host.deploy(name, { code, hosts: [`${name}.test`], limits })
  await deploy('main', CODE, { wallMs: 1_000, memoryMb: 32, cpuMs: 200, concurrency: 100 })
  await deploy('narrow', CODE, { wallMs: 4_000, concurrency: 1 })
  await deploy('other', PLAIN)
  await deploy('lost', CODE, { wallMs: 20_000 })
  await deploy('late', PLAIN)
  await host.deploy('scheduled', { code: `export default { scheduled() {} }`, hosts: ['scheduled.test'] })
  store = new FaultyStore(await openFileStore(folder))
  const log = silentLog()
  const config = configSchema.parse({ pool: { maxIsolates: 5 }, limits: { bodyBytes: 1_000_000 }, drainMs: 3_000 })
  factory = new CellFactory({ egress: config.egress, log })
  core = new HostCore({ config, store, factory, log, counters: new Counters() })
  ;({ listener } = await listen({ port: 0, address: '127.0.0.1', handler: (exchange) => core.handle(exchange) }))
  port = listener.port
})

after(async () => {
  await listener?.close(1_000)
  await core?.close(1_000)
  await host?.close()
  await store?.close()
  await rm(folder, { recursive: true, force: true })
})

function expect(answer: Answer, code: keyof typeof ERRORS): void {
  const { status } = ERRORS[code]
  assert.equal(answer.headers['skep-error'], code)
  assert.equal(answer.status, status)
  assert.equal(answer.text, STATUS_CODES[status])
  assert.match(String(answer.headers['skep-request-id']), /^[0-9a-z]{13,}$/)
  provoked.add(code)
}

const rows: [code: ErrorCode, what: string, run: () => Promise<Answer>][] = [
  ['unknown_host', 'a hostname without a function', () => send(port, 'nowhere.test')],
  ['unknown_host', 'an address as the hostname', () => send(port, '127.0.0.1')],
  ['body_too_large', 'a length above the limit', () => send(port, 'main.test', '/upload', { body: new Uint8Array(1_000_001) })],
  [
    'loop_detected',
    'a request that has come through functions of this host again and again',
    () => {
      const loop = Array.from({ length: MOST_PASSES }, () => loopIdOf(store)).join(', ')
      return send(port, 'main.test', '/', { headers: { 'cdn-loop': loop } })
    },
  ],
  [
    'body_too_large',
    'a chunked body that grows above the limit',
    () => send(port, 'main.test', '/upload', { body: new Uint8Array(1_200_000), headers: { 'transfer-encoding': 'chunked' } }),
  ],
  ['function_threw', 'a handler that throws', () => send(port, 'main.test', '/throw')],
  ['function_threw', 'a handler that rejects with a string', () => send(port, 'main.test', '/reject')],
  ['no_response', 'a handler that returns nothing', () => send(port, 'main.test', '/nothing')],
  ['no_response', 'a handler that returns a string', () => send(port, 'main.test', '/text')],
  ['no_response', 'a function without a fetch handler', () => send(port, 'scheduled.test')],
  ['bad_response', 'Response.error()', () => send(port, 'main.test', '/error-response')],
  ['cpu_exceeded', 'an endless loop', () => send(port, 'main.test', '/spin')],
  ['memory_exceeded', 'an array that grows for ever', () => send(port, 'main.test', '/grow')],
  ['timeout', 'a promise that never settles', () => send(port, 'main.test', '/never')],
]
for (const [code, what, run] of rows) {
  test(`${code}: ${what}`, { timeout: 30_000 }, async () => {
    expect(await run(), code)
    assert.equal((await send(port, 'other.test')).text, 'ok')
  })
}

test('bad_request and headers_too_large: the listener answers, and the host goes on', async () => {
  for (const [code, bytes] of [
    ['bad_request', 'GET / HTTP/1.1\r\nhost: a b\r\n\r\n'],
    ['headers_too_large', `GET / HTTP/1.1\r\nhost: main.test\r\nx-a: ${'a'.repeat(40_000)}\r\n\r\n`],
  ] as const) {
    const text = await sendRaw(port, bytes)
    const { status } = ERRORS[code]
    assert.match(text, new RegExp(`^HTTP/1.1 ${status} ${STATUS_CODES[status]}\\r\\n`))
    if (code === 'bad_request') assert.match(text, /\r\nskep-error: bad_request\r\n/)
    provoked.add(code)
  }
  assert.equal((await send(port, 'other.test')).text, 'ok')
})

test('overloaded: more events than may run and wait, with a time to come back', async () => {
  const answers = await Promise.all(Array.from({ length: 8 }, () => send(port, 'narrow.test', '/slow')))
  const refused = answers.filter((answer) => answer.status !== 200)
  assert.ok(refused.length >= 1 && refused.length <= 6)
  for (const answer of refused) {
    expect(answer, 'overloaded')
    assert.equal(answer.headers['retry-after'], '1')
  }
})

test('worker_lost: the cell is killed under a request; the next request finds a new one', { timeout: 30_000 }, async () => {
  const pending = send(port, 'lost.test', '/never')
  while (core.stats().inFlight === 0) await new Promise((resolve) => setImmediate(resolve))
  for (const pid of factory.pids) process.kill(pid, 'SIGKILL')
  expect(await pending, 'worker_lost')
  assert.equal((await send(port, 'lost.test')).text, 'ok')
})

test('quarantined: a function that is kept from running, with a time to come back', async () => {
  const config = configSchema.parse({})
  const conduct = new ConductBook(config)
  const watched = new HostCore({ config, store, factory, conduct, log: silentLog(), counters: new Counters() })
  const { listener: second } = await listen({ port: 0, address: '127.0.0.1', handler: (exchange) => watched.handle(exchange) })
  const { id } = (await new Registry(store).function('default', 'other')).deployment!.versions[0]!
  conduct.offence('default/other', id, { kind: 'unstoppable', message: 'a test', alone: true })
  const answer = await send(second.port, 'other.test')
  expect(answer, 'quarantined')
  assert.ok(Number(answer.headers['retry-after']) >= 1 && Number(answer.headers['retry-after']) <= 10)
  await second.close(0)
})

test('start_failed: a version that passed its check and does not start any more', async () => {
  const registry = new Registry(store)
  const { bundle } = await build({ code: `throw new Error('secret'); export default {}` }, { nodejs: false, maxBytes: 100_000 })
  const bytes = encodeBundle(bundle)
  const settings = { vars: {}, limits: {}, tag: '' }
  const { id } = await registry.addVersion('default', 'broken', {
    bytes,
    settings,
    report: { cpuMs: 1, handlers: [] },
    by: 'test',
  })
  await registry.deploy('default', 'broken', { versions: [{ id, percent: 100 }], by: 'test' })
  await registry.addRoute('broken.test', 'default', 'broken')
  expect(await send(port, 'broken.test'), 'start_failed')
})

test('store_unavailable: the store is away; what is loaded goes on answering', async () => {
  assert.equal((await send(port, 'other.test')).text, 'ok')
  store.fault = () => {
    throw new SkepError('store_unavailable', 'away')
  }
  try {
    expect(await send(port, 'late.test'), 'store_unavailable')
    assert.equal((await send(port, 'other.test')).text, 'ok')
  } finally {
    store.fault = undefined
  }
  assert.equal((await send(port, 'late.test')).text, 'ok')
})

test('store_corrupt: a damaged record', async () => {
  await store.put(keys.route('damaged.test'), Buffer.from('{'))
  expect(await send(port, 'damaged.test'), 'store_corrupt')
})

test('internal: a fault of our own, whose cause the caller does not get to see', async () => {
  store.fault = () => {
    throw new RangeError('secret')
  }
  try {
    expect(await send(port, 'fault.test'), 'internal')
  } finally {
    store.fault = undefined
  }
})

test('saturated: every isolate that there may be is at work', { timeout: 30_000 }, async () => {
  const single = new HostCore({
    config: configSchema.parse({ pool: { maxIsolates: 1 } }),
    store,
    factory,
    log: silentLog(),
    counters: new Counters(),
  })
  const { listener: second } = await listen({ port: 0, address: '127.0.0.1', handler: (exchange) => single.handle(exchange) })
  const busy = send(second.port, 'lost.test', '/never').catch(() => undefined)
  while (single.stats().inFlight === 0) await new Promise((resolve) => setImmediate(resolve))
  expect(await send(second.port, 'other.test'), 'saturated')
  await second.close(0)
  await busy
})

test('draining: a request that comes while the host closes', async () => {
  const closing = core.close(3_000)
  expect(await send(port, 'other.test'), 'draining')
  await closing
})

test('every code of the data port was provoked here', () => {
  assert.deepEqual([...provoked].toSorted(), [...DATA_CODES].toSorted())
})

test('every code of the list is thrown somewhere', async () => {
  let source = ''
  for (const top of ['host', 'sandbox', 'bundler', 'control-api']) {
    for (const name of await readdir(join(import.meta.dirname, '..', top), { recursive: true })) {
      if (!name.endsWith('.ts') || name.includes('test') || name === 'errors.ts' || name === 'answer.ts') continue
      source += await readFile(join(import.meta.dirname, '..', top, name), 'utf8')
    }
  }
  const unused = Object.keys(ERRORS).filter((code) => !source.includes(`'${code}'`))
  assert.deepEqual(unused, [])
})
