import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { SkepError } from './errors.ts'
import { keys } from './records.ts'
import type { VersionSettings } from './records.ts'
import { pages, Registry } from './registry.ts'
import { openFileStore } from './store/file.ts'
import type { Store } from './store/store.ts'

const settings: VersionSettings = { vars: {}, limits: {}, tag: '' }
const report = { cpuMs: 1.234, handlers: ['fetch'] }
const isCode = (code: string) => (error: unknown) => error instanceof SkepError && error.code === code

async function open(t: TestContext): Promise<{ store: Store; registry: Registry; folder: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'skep-registry-'))
  const store = await openFileStore(folder)
  t.after(async () => {
    await store.close()
    await rm(folder, { recursive: true, force: true })
  })
  return { store, registry: new Registry(store), folder }
}

const add = (registry: Registry, fn: string, text: string, more: Partial<VersionSettings> = {}, tenant = 'acme') =>
  registry.addVersion(tenant, fn, { bytes: Buffer.from(text), settings: { ...settings, ...more }, report, by: 'test' })

async function release(registry: Registry, fn: string, text: string, tenant = 'acme'): Promise<string> {
  const { id } = await add(registry, fn, text, {}, tenant)
  await registry.deploy(tenant, fn, { versions: [{ id, percent: 100 }], by: 'test' })
  return id
}

test('the same content and settings are the same version; others are others', async (t) => {
  const { registry } = await open(t)
  const first = await add(registry, 'a', 'one', { vars: { A: '1', B: '2' } })
  assert.deepEqual(await add(registry, 'a', 'one', { vars: { B: '2', A: '1' } }), first)
  const others = [await add(registry, 'a', 'one'), await add(registry, 'a', 'two'), await add(registry, 'a', 'one', { tag: 'x' })]
  assert.equal(new Set([first, ...others].map(({ id }) => id)).size, 4)
  const both = await Promise.all([add(registry, 'b', 'one'), add(registry, 'b', 'one')])
  assert.deepEqual(both[0], both[1])
})

test('uploading again mends a bundle that was damaged or lost', async (t) => {
  const { registry, store } = await open(t)
  const { bundle } = await add(registry, 'a', 'one')
  await store.put(keys.bundle(bundle), Buffer.from('damaged'))
  await add(registry, 'a', 'one')
  const there = await store.get(keys.bundle(bundle))
  assert.ok(there !== undefined && there !== 'unchanged' && Buffer.from(there.bytes).toString() === 'one')
})

test('two registries on one store: no deployment is lost, and a condition holds', async (t) => {
  const { registry, folder } = await open(t)
  const otherStore = await openFileStore(folder)
  t.after(() => otherStore.close())
  const other = new Registry(otherStore)
  const { id } = await add(registry, 'a', 'one')
  const versions = [{ id, percent: 100 }]
  const deploys = Array.from({ length: 8 }, (_, i) =>
    (i % 2 === 0 ? registry : other).deploy('acme', 'a', { versions, by: `${i}` }),
  )
  const ids = (await Promise.all(deploys)).map((record) => record.deployment!.id)
  assert.deepEqual(ids.toSorted((a, b) => a - b), [1, 2, 3, 4, 5, 6, 7, 8]) // prettier-ignore
  const record = await registry.function('acme', 'a')
  assert.equal(new Set([record.deployment!, ...record.history].map(({ by }) => by)).size, 8)
  const race = await Promise.allSettled(
    [registry, other].map((one) => one.deploy('acme', 'a', { versions, by: 'race', ifDeployment: 8 })),
  )
  assert.deepEqual(race.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected']) // prettier-ignore
  await assert.rejects(other.deploy('acme', 'a', { versions, by: 'late', ifDeployment: 0 }), isCode('precondition_failed'))
})

test('a deployment that makes no sense is refused before it can damage the record', async (t) => {
  const { registry } = await open(t)
  const { id } = await add(registry, 'a', 'one')
  const { id: second } = await add(registry, 'a', 'two')
  const bad: { id: string; percent: number }[][] = [
    [],
    [{ id, percent: 99 }],
    [{ id, percent: NaN }],
    [{ id, percent: 150 }, { id: second, percent: -50 }], // prettier-ignore
    [{ id, percent: 50 }, { id, percent: 50 }], // prettier-ignore
    [{ id: '../x', percent: 100 }],
  ]
  for (const versions of bad)
    await assert.rejects(registry.deploy('acme', 'a', { versions, by: 'test' }), isCode('invalid_request'))
  const missing = { versions: [{ id: '0'.repeat(16), percent: 100 }], by: 'test' }
  await assert.rejects(registry.deploy('acme', 'a', missing), isCode('not_found'))
  assert.equal((await registry.function('acme', 'a')).deployment, null)
})

test('rolling back: to the version before, to a given one, and nowhere', async (t) => {
  const { registry } = await open(t)
  const one = await release(registry, 'a', 'one')
  await assert.rejects(registry.rollback('acme', 'a', { by: 'test' }), isCode('not_found'))
  const two = await release(registry, 'a', 'two')
  const now = async () => (await registry.function('acme', 'a')).deployment!.versions[0]!.id
  await registry.rollback('acme', 'a', { by: 'test' })
  assert.equal(await now(), one)
  await registry.rollback('acme', 'a', { version: two, by: 'test' })
  assert.equal(await now(), two)
  await assert.rejects(registry.rollback('acme', 'a', { version: '0'.repeat(16), by: 'test' }), isCode('not_found'))
})

test('a hostname belongs to the tenant that had it first, names below its wildcard too', async (t) => {
  const { registry } = await open(t)
  await release(registry, 'a', 'one')
  await release(registry, 'b', 'one')
  await release(registry, 'a', 'one', 'rival')
  await registry.addRoute('App.Example.com.', 'acme', 'a')
  await registry.addRoute('*.shops.example.com', 'acme', 'a')
  for (const taken of [
    'app.example.com',
    'APP.example.com.',
    'x.shops.example.com',
    '*.x.shops.example.com',
    '*.shops.example.com',
  ]) {
    await assert.rejects(registry.addRoute(taken, 'rival', 'a'), isCode('route_conflict'), taken)
  }
  await assert.rejects(registry.removeRoute('app.example.com', 'rival'), isCode('route_conflict'))
  assert.equal((await registry.addRoute('app.example.com', 'acme', 'b')).function, 'b')
  await registry.addRoute('x.shops.example.com', 'acme', 'b')
  await registry.removeRoute('app.example.com', 'acme')
  await registry.addRoute('app.example.com', 'rival', 'a')
  const both = await Promise.allSettled(['acme', 'rival'].map((tenant) => registry.addRoute('race.test', tenant, 'a')))
  assert.deepEqual(both.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected']) // prettier-ignore
})

test('names with tricks are refused', async (t) => {
  const { registry } = await open(t)
  await release(registry, 'a', 'one')
  for (const name of ['', '.', '..', '../x', 'a/b', 'A', 'a_b', '-a', 'a-', 'a\u0000', 'ä', 'a'.repeat(64), '__proto__']) {
    await assert.rejects(add(registry, name, 'one'), isCode('invalid_name'), name)
    await assert.rejects(registry.function(name, 'a'), isCode('invalid_name'), name)
  }
  const wide = `*.${Array.from({ length: 11 }, () => 'a').join('.')}`
  for (const host of [
    '',
    '.',
    'a..b',
    '*',
    '*.*.a',
    'a.*.b',
    'http://a',
    'a:80',
    'a/b',
    '../a',
    'a b',
    'ä.test',
    '-a.test',
    'a'.repeat(254),
    wide,
  ]) {
    await assert.rejects(registry.addRoute(host, 'acme', 'a'), isCode('invalid_hostname'), host)
  }
  await assert.rejects(registry.version('acme', 'a', '../../../x'), isCode('not_found'))
})

test("deleting a function takes its routes and versions, and nobody else's; pages hold all", async (t) => {
  const { registry } = await open(t)
  for (let i = 0; i < 7; i++) await release(registry, `f${i}`, 'one')
  await add(registry, 'f3', 'two')
  await registry.addRoute('f3.test', 'acme', 'f3')
  await registry.addRoute('f4.test', 'acme', 'f4')
  const names = async () => {
    const found: string[] = []
    for await (const { name } of pages((cursor) => registry.functions('acme', { ...cursor, limit: 2 }))) found.push(name)
    return found
  }
  assert.deepEqual(await names(), ['f0', 'f1', 'f2', 'f3', 'f4', 'f5', 'f6'])
  await registry.deleteFunction('acme', 'f3')
  assert.deepEqual(await names(), ['f0', 'f1', 'f2', 'f4', 'f5', 'f6'])
  assert.deepEqual((await registry.routes({ tenant: 'acme' })).items.map(({ hostname }) => hostname), ['f4.test']) // prettier-ignore
  await assert.rejects(registry.function('acme', 'f3'), isCode('not_found'))
  await release(registry, 'f3', 'one')
})

test('a deploy that is cut off before any of its writes leaves what answered, and can be repeated', async (t) => {
  for (let nth = 1; ; nth++) {
    const { store, registry } = await open(t)
    const old = await release(registry, 'a', 'one')
    let writes = 0
    const cut = new Proxy(store, {
      get(target, name: keyof Store) {
        const method = target[name]
        if (typeof method !== 'function') return method
        if (name !== 'put') return (method as () => unknown).bind(target)
        return (...args: Parameters<Store['put']>) => {
          if (++writes === nth) throw new SkepError('store_unavailable', 'cut off')
          return target.put(...args)
        }
      },
    })
    const late = new Registry(cut)
    const deploy = async (one: Registry) => {
      const id = await release(one, 'a', 'two')
      await one.addRoute('a.test', 'acme', 'a')
      return id
    }
    const outcome = await deploy(late).catch((error: SkepError) => error)
    const { deployment } = await registry.function('acme', 'a')
    if (typeof outcome === 'string') {
      assert.equal(nth, 5)
      break
    }
    assert.equal(outcome.code, 'store_unavailable')
    if (deployment!.versions[0]!.id !== old) {
      const { bundle } = await registry.version('acme', 'a', deployment!.versions[0]!.id)
      assert.notEqual(await store.get(keys.bundle(bundle)), undefined)
    }
    const id = await deploy(registry)
    assert.equal((await registry.function('acme', 'a')).deployment!.versions[0]!.id, id)
  }
})
