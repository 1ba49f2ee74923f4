import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import { openStore } from '../host/store/open.ts'
import type { OpenStoreOptions } from '../host/store/open.ts'
import type { Store, StoredObject } from '../host/store/store.ts'
import { skipUnless } from './services/require.ts'
import { missingS3, startS3 } from './services/s3.ts'
import type { S3Service } from './services/s3.ts'

/** A place for stores: every `fresh()` is an empty one. */
interface Place {
  fresh(): { description: string; options: OpenStoreOptions }
  stop(): Promise<void>
}

async function folderPlace(): Promise<Place> {
  const root = await mkdtemp(join(tmpdir(), 'skep-store-'))
  return {
    fresh: () => ({ description: `file:${join(root, randomUUID())}`, options: {} }),
    stop: () => rm(root, { recursive: true }),
  }
}

async function bucketPlace(): Promise<Place> {
  const s3: S3Service = await startS3()
  const { endpoint, region, credentials } = s3
  return {
    fresh: () => ({ description: `s3://${s3.bucket}/${randomUUID()}`, options: { s3: { endpoint, region, credentials } } }),
    stop: () => s3.stop(),
  }
}

contract('file', folderPlace, undefined)
contract('s3', bucketPlace, missingS3())

function contract(name: string, start: () => Promise<Place>, missing: string | undefined): void {
  describe(`${name} store`, { skip: skipUnless(missing) }, () => {
    let place: Place
    before(async () => {
      place = await start()
    })
    after(() => place.stop())

    /** A test on an empty store. */
    function on(title: string, body: (store: Store, description: string) => Promise<void>): void {
      test(title, async () => {
        const { description, options } = place.fresh()
        await using store = closing(await openStore(description, options))
        await body(store.store, description)
      })
    }

    on('gives back what was put, byte for byte', async (store) => {
      for (const bytes of [Buffer.alloc(0), Buffer.from('{"a":1}'), randomBytes(10 << 20)]) {
        const etag = await store.put('some/key', bytes)
        const object = await read(store, 'some/key')
        assert.deepEqual(Buffer.from(object.bytes), bytes)
        assert.equal(object.etag, etag)
      }
    })

    on('knows nothing of what was never put', async (store) => {
      assert.equal(await store.get('a'), undefined)
      assert.equal(await store.get('a', { ifNoneMatch: 'x' }), undefined)
      await store.delete('a')
      assert.deepEqual(await store.list(''), { keys: [], cursor: undefined })
    })

    on('answers unchanged while an object stands, and the new one once it does not', async (store) => {
      const etag = await store.put('a', Buffer.from('1'))
      assert.equal(await store.get('a', { ifNoneMatch: etag }), 'unchanged')
      await store.put('a', Buffer.from('2'))
      const object = await store.get('a', { ifNoneMatch: etag })
      assert.ok(object && object !== 'unchanged')
      assert.equal(Buffer.from(object.bytes).toString(), '2')
    })

    on('writes over the object with the given ETag only', async (store) => {
      const first = await store.put('a', Buffer.from('1'))
      const second = await store.put('a', Buffer.from('2'), { ifMatch: first })
      await fails(store.put('a', Buffer.from('3'), { ifMatch: first }), 'precondition_failed')
      await fails(store.put('b', Buffer.from('3'), { ifMatch: first }), 'precondition_failed')
      assert.equal(await store.get('b'), undefined)
      assert.deepEqual(await text(store, 'a'), '2')
      await store.put('a', Buffer.from('4'), { ifMatch: second })
      assert.deepEqual(await text(store, 'a'), '4')
    })

    on('creates where there is nothing only', async (store) => {
      await store.put('a', Buffer.from('1'), { ifAbsent: true })
      await fails(store.put('a', Buffer.from('2'), { ifAbsent: true }), 'precondition_failed')
      assert.equal(await text(store, 'a'), '1')
    })

    on('deletes the object with the given ETag only, and creates it anew', async (store) => {
      const first = await store.put('a/b', Buffer.from('1'))
      const second = await store.put('a/b', Buffer.from('2'))
      await fails(store.delete('a/b', { ifMatch: first }), 'precondition_failed')
      assert.equal(await text(store, 'a/b'), '2')
      await store.delete('a/b', { ifMatch: second })
      await fails(store.delete('a/b', { ifMatch: second }), 'precondition_failed')
      await fails(store.put('a/b', Buffer.from('3'), { ifMatch: second }), 'precondition_failed')
      assert.equal(await store.get('a/b'), undefined)
      assert.deepEqual((await store.list('')).keys, [])
      await store.put('a/b', Buffer.from('4'), { ifAbsent: true })
      await fails(store.put('a/b', Buffer.from('5'), { ifAbsent: true }), 'precondition_failed')
      assert.equal(await text(store, 'a/b'), '4')
      await store.delete('a/b')
      assert.equal(await store.get('a/b'), undefined)
    })

    on('lets one of many creators through', async (store) => {
      const tries = Array.from({ length: 20 }, (_, i) => store.put('a', Buffer.from(String(i)), { ifAbsent: true }))
      const results = await Promise.allSettled(tries)
      const winners = results.flatMap((result, i) => (result.status === 'fulfilled' ? [i] : []))
      assert.equal(winners.length, 1)
      assert.equal(await text(store, 'a'), String(winners[0]))
    })

    on('keeps a key beside keys below it, and upper case beside lower case', async (store) => {
      const keys = [
        'A',
        'a',
        'a/b',
        'a/b/c',
        'a-b',
        'a.b',
        'a=',
        'a+',
        'a/b=',
        '%41',
        'é',
        'e\u0301',
        '*',
        '*.a',
        '.a',
        '..a',
        'a b',
        '~',
        'a\\b',
        'a!',
        'a!b',
        'a b/c',
        'a!1',
        '!',
      ]
      keys.push(
        'x'.repeat(250),
        `${'x'.repeat(250)}/y`,
        `${'X'.repeat(250)}/z`,
        'x'.repeat(200),
        `${'x'.repeat(200)}/y`,
        '😀',
        '\uffee',
      )
      for (const key of keys) await store.put(key, Buffer.from(key), { ifAbsent: true })
      for (const key of keys) assert.equal(await text(store, key), key)
      const sorted = keys.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
      assert.deepEqual((await store.list('')).keys, sorted)
      assert.deepEqual(await pages(store, '', 1), sorted)
      for (const prefix of ['a', 'a/', 'a/b', 'x', 'x'.repeat(201), '.a', '%', 'none', 'none/'])
        assert.deepEqual(
          await pages(store, prefix, 2),
          sorted.filter((key) => key.startsWith(prefix)),
          prefix,
        )
    })

    on('pages through more keys than one page holds', async (store) => {
      const keys = Array.from({ length: 1_020 }, (_, i) => `routes/${String(i).padStart(5, '0')}.example.com`)
      for (let i = 0; i < keys.length; i += 50)
        await Promise.all(keys.slice(i, i + 50).map((key) => store.put(key, Buffer.from('{}'))))
      const first = await store.list('routes/')
      assert.equal(first.keys.length, 1_000)
      assert.deepEqual(await pages(store, 'routes/', 5_000), keys)
      assert.deepEqual(await pages(store, 'routes/0100', 3), keys.slice(1_000, 1_010))
      // What comes or goes between two pages may show or not; all else shows, once.
      const half = await store.list('routes/')
      await store.put('routes/01010.a', Buffer.from('{}'))
      await store.delete('routes/01011.example.com')
      const rest = await pages(store, 'routes/', 7, half.cursor)
      const moving = new Set(['routes/01010.a', 'routes/01011.example.com'])
      const isStill = (key: string): boolean => !moving.has(key)
      assert.deepEqual(rest.filter(isStill), keys.slice(1_000).filter(isStill))
    })

    on('refuses keys that lead elsewhere', async (store) => {
      const tricks = [
        '',
        '/',
        '/etc/passwd',
        '..',
        '.',
        'a/../b',
        '../a',
        'a/..',
        './a',
        'a//b',
        'a/',
        'a\0',
        'a\nb',
        '\u007f',
        '\ud800',
        'x/'.repeat(384) + 'xx',
        'x'.repeat(251),
        '.skep/writer',
      ]
      for (const key of tricks) {
        await fails(store.put(key, Buffer.from('')), 'invalid_request')
        await fails(store.get(key), 'invalid_request')
        await fails(store.delete(key), 'invalid_request')
      }
      for (const prefix of ['/', '../', 'a/../', 'a//', '\0', '.', 'a/..']) await fails(store.list(prefix), 'invalid_request')
      assert.deepEqual((await store.list('')).keys, [])
    })

    on('says what it is', async (store, description) => {
      assert.equal(store.description, description)
    })

    test('loses no update of two processes', async () => {
      const { description, options } = place.fresh()
      const add = () =>
        promisify(execFile)(process.execPath, [
          join(import.meta.dirname, 'store-counter.child.ts'),
          description,
          JSON.stringify(options),
          '50',
        ])
      await Promise.all([add(), add()])
      await using store = closing(await openStore(description, options))
      assert.equal(await text(store.store, 'counter'), '100')
    })
  })
}

function closing(store: Store): AsyncDisposable & { store: Store } {
  return { store, [Symbol.asyncDispose]: () => store.close() }
}

async function read(store: Store, key: string): Promise<StoredObject> {
  const object = await store.get(key)
  assert.ok(object && object !== 'unchanged', `${key} is absent`)
  return object
}

async function text(store: Store, key: string): Promise<string> {
  return Buffer.from((await read(store, key)).bytes).toString()
}

async function pages(store: Store, prefix: string, limit: number, cursor?: string): Promise<string[]> {
  const page = await store.list(prefix, { limit, ...(cursor === undefined ? {} : { cursor }) })
  assert.ok(page.keys.length <= limit)
  return page.cursor === undefined ? page.keys : [...page.keys, ...(await pages(store, prefix, limit, page.cursor))]
}

function fails(promise: Promise<unknown>, code: string): Promise<void> {
  return assert.rejects(promise, { name: 'SkepError', code })
}
