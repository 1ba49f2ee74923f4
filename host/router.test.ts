import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SkepError } from './errors.ts'
import type { FunctionRecord } from './records.ts'
import { chooseVersion, Router } from './router.ts'
import { FakeClock, turn } from './test-support/clock.ts'
import { hold, MemoryStore } from './test-support/store.ts'

const createdAt = '2026-01-01T00:00:00.000Z'
const id = (digit: string) => digit.repeat(16)

function functionOf(name: string, version: string, tenant = 'acme'): FunctionRecord {
  const deployment = { id: 1, versions: [{ id: version, percent: 100 }], createdAt, by: 'test' }
  return { tenant, name, createdAt, deployment, history: [] }
}

function open() {
  const store = new MemoryStore()
  const clock = new FakeClock()
  const router = new Router(store, { clock, cacheSize: 5_000 })
  const route = (hostname: string, fn: string, tenant = 'acme') =>
    store.set(`routes/${hostname}`, { tenant, function: fn, createdAt })
  const deploy = (fn: string, version: string) => store.set(`tenants/acme/functions/${fn}`, functionOf(fn, version))
  /** As the host does it: the version that answers now. */
  const ask = async (hostname: string) => {
    const known = router.peek(hostname)
    const found = known === undefined ? await router.find(hostname) : known
    return found === null || found === undefined ? undefined : chooseVersion(found)
  }
  return { store, clock, router, route, deploy, ask }
}

const isCode = (code: string) => (error: unknown) => error instanceof SkepError && error.code === code

test('the exact route wins over wildcards, and the most specific wildcard over others', async () => {
  const { route, deploy, ask } = open()
  for (const [fn, digit] of [['exact', '1'], ['near', '2'], ['far', '3']] as const) deploy(fn, id(digit)) // prettier-ignore
  route('*.example.com', 'far')
  route('*.eu.example.com', 'near')
  route('shop.eu.example.com', 'exact')
  assert.equal(await ask('shop.eu.example.com'), id('1'))
  assert.equal(await ask('blog.eu.example.com'), id('2'))
  assert.equal(await ask('a.b.eu.example.com'), id('2'))
  assert.equal(await ask('us.example.com'), id('3'))
  assert.equal(await ask('example.com'), undefined)
  assert.equal(await ask('example.org'), undefined)
})

test('a fresh answer costs no read, and a missing hostname is remembered too', async () => {
  const { store, clock, route, deploy, ask } = open()
  route('a.test', 'a')
  deploy('a', id('1'))
  await ask('a.test')
  await ask('missing.test')
  store.takeGets()
  await clock.pass(1_000)
  assert.equal(await ask('a.test'), id('1'))
  assert.equal(await ask('missing.test'), undefined)
  assert.deepEqual(store.takeGets(), [])
})

test('a stale answer is used and read again behind it, by ETag; an old one waits for the store', async () => {
  const { store, clock, route, deploy, ask } = open()
  route('a.test', 'a')
  deploy('a', id('1'))
  await ask('a.test')
  store.takeGets()
  await clock.pass(1_500)
  deploy('a', id('2'))
  assert.equal(await ask('a.test'), id('1'))
  await turn()
  assert.deepEqual(store.takeGets(), ['routes/a.test=', 'tenants/acme/functions/a'])
  assert.equal(await ask('a.test'), id('2'))
  assert.deepEqual(store.takeGets(), [])
  await clock.pass(2_001)
  deploy('a', id('3'))
  assert.equal(await ask('a.test'), id('3'))
})

test('an answer is as old as the question, not as its coming', async () => {
  const { store, clock, route, deploy, router } = open()
  route('a.test', 'a')
  deploy('a', id('1'))
  const gate = hold(store)
  const finding = router.find('a.test')
  await clock.pass(1_100)
  gate.open()
  await finding
  store.takeGets()
  router.peek('a.test')
  await turn()
  assert.deepEqual(store.takeGets(), ['routes/a.test=', 'tenants/acme/functions/a='])
})

test('many callers of one hostname make one look-up', async () => {
  const { store, router, route, deploy } = open()
  route('a.test', 'a')
  deploy('a', id('1'))
  const found = await Promise.all(Array.from({ length: 50 }, () => router.find('a.test')))
  assert.equal(new Set(found).size, 1)
  assert.equal(store.gets.length, 2)
})

test('names below one wildcard do not read it again each, whether it is there or not', async () => {
  const { store, route, deploy, ask } = open()
  route('*.example.com', 'a')
  deploy('a', id('1'))
  await ask('x1.example.com')
  store.takeGets()
  assert.equal(await ask('x2.example.com'), id('1'))
  assert.deepEqual(store.takeGets(), ['routes/x2.example.com', 'tenants/acme/functions/a='])
  await ask('x1.nowhere.test')
  store.takeGets()
  await ask('x2.nowhere.test')
  assert.deepEqual(store.takeGets(), ['routes/x2.nowhere.test'])
})

test('a notice makes a change visible at once, also to a caller whose look-up began before it', async () => {
  const { store, route, deploy, router, ask } = open()
  route('a.test', 'a')
  deploy('a', id('1'))
  await ask('a.test')
  deploy('a', id('2'))
  assert.equal(await ask('a.test'), id('1'))
  router.forget({ type: 'function', tenant: 'acme', function: 'a' })
  assert.equal(await ask('a.test'), id('2'))

  const gate = hold(store)
  router.forget({ type: 'function', tenant: 'acme', function: 'a' })
  const before = ask('a.test')
  await turn()
  deploy('a', id('3'))
  router.forget({ type: 'function', tenant: 'acme', function: 'a' })
  const after = ask('a.test')
  await turn()
  gate.open()
  await before
  assert.equal(await after, id('3'))
  assert.equal(await ask('a.test'), id('3'))
})

test('a notice about a route reaches the names that a wildcard answered for, and those that had none', async () => {
  const { store, route, deploy, router, ask } = open()
  deploy('a', id('1'))
  assert.equal(await ask('x.example.com'), undefined)
  route('*.example.com', 'a')
  router.forget({ type: 'route', hostname: '*.example.com' })
  assert.equal(await ask('x.example.com'), id('1'))
  store.objects.delete('routes/*.example.com')
  router.forget({ type: 'route', hostname: '*.example.com' })
  assert.equal(await ask('x.example.com'), undefined)
})

test('with the store away, what is cached serves at once, and requests do not hammer it', async () => {
  const { store, clock, route, deploy, ask } = open()
  route('a.test', 'a')
  deploy('a', id('1'))
  await ask('a.test')
  await ask('missing.test')
  store.isAway = true
  await clock.pass(60_000)
  store.takeGets()
  assert.equal(await ask('a.test'), id('1'))
  for (let i = 0; i < 1_000; i++) assert.equal(await ask('a.test'), id('1'))
  assert.equal(await ask('missing.test'), undefined)
  assert.equal(store.takeGets().length, 1)
  for (let i = 0; i < 20; i++) {
    await clock.pass(100)
    await ask('a.test')
  }
  assert.ok(store.takeGets().length <= 9)
  await assert.rejects(ask('unknown.test'), isCode('store_unavailable'))

  store.isAway = false
  deploy('a', id('2'))
  await clock.pass(300)
  await ask('a.test')
  await turn()
  assert.equal(await ask('a.test'), id('2'))
})

test('a store that does not answer holds a caller up once and briefly', async () => {
  const { store, clock, route, deploy, ask, router } = open()
  route('a.test', 'a')
  deploy('a', id('1'))
  await ask('a.test')
  await clock.pass(10_000)
  const gate = hold(store)
  store.takeGets()
  const answers: (string | undefined)[] = []
  for (let i = 0; i < 100; i++) void ask('a.test').then((answer) => answers.push(answer))
  await clock.pass(249)
  assert.equal(answers.length, 0)
  await clock.pass(1)
  await turn()
  assert.deepEqual(
    answers,
    Array.from({ length: 100 }, () => id('1')),
  )
  for (let i = 0; i < 100; i++) {
    await clock.pass(100)
    assert.notEqual(router.peek('a.test') ?? (await router.find('a.test')), undefined)
  }
  assert.deepEqual(store.takeGets(), ['routes/a.test'])
  gate.open()
  await turn()
})

test('a notice while the store is away loses nothing that answers', async () => {
  const { store, route, deploy, router, ask } = open()
  route('a.test', 'a')
  deploy('a', id('1'))
  await ask('a.test')
  store.isAway = true
  router.forget({ type: 'function', tenant: 'acme', function: 'a' })
  assert.equal(await ask('a.test'), id('1'))
})

test('damaged records are store_corrupt, and are read again once they are mended', async () => {
  const { store, route, deploy, ask } = open()
  const good = functionOf('a', id('1'))
  for (const bad of ['', '{', 'null', '[]', '{"tenant":"../x","function":"a"}', { tenant: 'acme', function: 'a b', createdAt }]) {
    store.set('routes/a.test', bad)
    await assert.rejects(ask('a.test'), isCode('store_corrupt'))
  }
  route('a.test', 'a')
  const elsewhere = functionOf('a', id('1'), 'rival')
  for (const bad of ['\u0000', { ...good, deployment: {} }, { ...good, name: 'other' }, elsewhere]) {
    store.set('tenants/acme/functions/a', bad)
    await assert.rejects(ask('a.test'), isCode('store_corrupt'))
  }
  deploy('a', id('1'))
  assert.equal(await ask('a.test'), id('1'))
})

test('a route to a function that is gone, and a function without a deployment, lead nowhere', async () => {
  const { store, route, ask } = open()
  route('a.test', 'a')
  assert.equal(await ask('a.test'), undefined)
  store.set('tenants/acme/functions/b', { ...functionOf('b', id('1')), deployment: null })
  route('b.test', 'b')
  assert.equal(await ask('b.test'), undefined)
})

test('what is no hostname never reaches the store', async () => {
  const { store, ask } = open()
  const names = [
    '',
    '.',
    'a..b',
    '../tenants',
    'a/b',
    '*.test',
    'a b',
    '[::1]',
    'A.test',
    'ä.test',
    'a\u0000',
    `${'a.'.repeat(130)}a`,
  ]
  for (const name of names) assert.equal(await ask(name), undefined, name)
  assert.deepEqual(store.gets, [])
  await ask('a.'.repeat(100) + 'a')
  assert.equal(store.gets.length, 11)
})

test('a flood of made-up names is bounded, and names that are known go on being answered', async () => {
  const { store, clock, route, deploy, router, ask } = open()
  route('a.test', 'a')
  deploy('a', id('1'))
  await ask('a.test')
  await clock.pass(60_000)
  const gate = hold(store)
  const flood = Array.from({ length: 1_000 }, (_, i) => router.find(`n${i}.test`).catch((error: SkepError) => error.code))
  assert.equal(await ask('a.test'), id('1'))
  gate.open()
  const outcomes = await Promise.all(flood)
  assert.equal(outcomes.filter((outcome) => outcome === 'saturated').length, 1_000 - 256)
  assert.equal(outcomes.filter((outcome) => outcome === undefined).length, 256)
  assert.equal(await router.find('n999.test'), undefined)
})

test('versions share the requests by their percentages', () => {
  const record = functionOf('a', id('1'))
  record.deployment!.versions = [
    { id: id('0'), percent: 0 },
    { id: id('1'), percent: 90 },
    { id: id('2'), percent: 9.9995 },
    { id: id('3'), percent: 0 },
  ]
  const counts: Record<string, number> = {}
  for (let i = 0; i < 10_000; i++) {
    const version = chooseVersion(record, i / 10_000)!
    counts[version] = (counts[version] ?? 0) + 1
  }
  assert.deepEqual(Object.keys(counts).toSorted(), [id('1'), id('2')])
  assert.ok(Math.abs(counts[id('1')]! - 9_000) < 5)
  assert.equal(chooseVersion({ ...record, deployment: null }), undefined)
})
