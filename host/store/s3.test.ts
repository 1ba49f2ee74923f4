import assert from 'node:assert/strict'
import type { IncomingMessage } from 'node:http'
import { after, before, describe, test } from 'node:test'
import { randomUUID } from 'node:crypto'
import { skipUnless } from '../../test/services/require.ts'
import { startFront } from '../../test/services/s3-front.ts'
import type { FrontOptions } from '../../test/services/s3-front.ts'
import { missingS3, startS3 } from '../../test/services/s3.ts'
import type { S3Service } from '../../test/services/s3.ts'
import type { SkepError } from '../errors.ts'
import { openS3Store } from './s3.ts'
import type { S3StoreOptions } from './s3.ts'
import type { Store } from './store.ts'

async function text(store: Store, key: string): Promise<string | undefined> {
  const object = await store.get(key)
  return object && object !== 'unchanged' ? Buffer.from(object.bytes).toString() : undefined
}

describe('s3 store and its server', { skip: skipUnless(missingS3()) }, () => {
  let s3: S3Service
  before(async () => {
    s3 = await startS3()
  })
  after(() => s3.stop())

  function settings(prefix: string, more: Partial<S3StoreOptions> = {}): S3StoreOptions {
    return { bucket: s3.bucket, prefix, endpoint: s3.endpoint, region: s3.region, credentials: s3.credentials, ...more }
  }

  /** A store whose requests a front mistreats. */
  async function behind(options: FrontOptions, prefix: string, more: Partial<S3StoreOptions> = {}) {
    const front = await startFront(s3.endpoint, options)
    const store = openS3Store(settings(prefix, { endpoint: front.endpoint, ...more }))
    return {
      store,
      async [Symbol.asyncDispose]() {
        await store.close()
        await front.close()
      },
    }
  }

  test('a conditional write whose answer is lost counts as done, once', async () => {
    for (const condition of ['ifAbsent', 'ifMatch'] as const) {
      const prefix = randomUUID()
      const direct = openS3Store(settings(prefix))
      const dropped: number[] = []
      await using bad = await behind(
        {
          onAnswer: (request, status) => {
            if (request.method !== 'PUT' || !request.url!.includes('/record') || dropped.length > 0) return 'pass'
            dropped.push(status)
            return 'drop'
          },
        },
        prefix,
      )
      const etag = condition === 'ifMatch' ? await direct.put('record', Buffer.from('0')) : undefined
      const written = await bad.store.put('record', Buffer.from('1'), etag ? { ifMatch: etag } : { ifAbsent: true })
      assert.deepEqual(dropped, [200])
      const object = await direct.get('record')
      assert.ok(object && object !== 'unchanged')
      assert.equal(object.etag, written)
      assert.equal(Buffer.from(object.bytes).toString(), '1')
      await direct.close()
    }
  })

  test('equal bytes of another writer are not taken for our own', async () => {
    const prefix = randomUUID()
    const direct = openS3Store(settings(prefix))
    const first = await direct.put('record', Buffer.from('5'))
    let dropped = false
    await using bad = await behind(
      {
        onAnswer: async (request) => {
          if (request.method !== 'PUT' || !request.url!.includes('/record') || dropped) return 'pass'
          dropped = true
          // As if the request had got lost, and a rival had reached the same number.
          await direct.put('record', Buffer.from('6'))
          return 'drop'
        },
      },
      prefix,
    )
    const lost = bad.store.put('record', Buffer.from('6'), { ifMatch: first })
    await assert.rejects(lost, { code: 'store_unavailable', message: /may or may not/ })
    await direct.close()
  })

  test('a server killed in mid-write shows the old object after its restart', async () => {
    const prefix = randomUUID()
    const direct = openS3Store(settings(prefix))
    await direct.put('bundle', Buffer.from('old'))
    let killed = false
    await using bad = await behind(
      {
        onHalfBody: async (request) => {
          if (killed || !request.url!.includes('/bundle')) return
          killed = true
          await s3.kill()
        },
      },
      prefix,
    )
    await assert.rejects(bad.store.put('bundle', Buffer.alloc(10 << 20, 7)), { code: 'store_unavailable' })
    assert.ok(killed)
    await assert.rejects(direct.get('bundle'), { code: 'store_unavailable', message: /does not answer/ })
    await s3.restart()
    assert.equal(await text(direct, 'bundle'), 'old')
    assert.deepEqual((await direct.list('')).keys, ['bundle'])
    await direct.close()
  })

  test('a server that hangs is store_unavailable within the bound, and the store goes on after', async () => {
    const store = openS3Store(settings(randomUUID(), { connectTimeoutMs: 200, requestTimeoutMs: 300, totalTimeoutMs: 1_000 }))
    await s3.pause()
    const begun = performance.now()
    try {
      const attempts = [
        () => store.get('a'),
        () => store.put('a', Buffer.from('1')),
        () => store.list(''),
        () => store.delete('a'),
      ]
      const results = await Promise.allSettled(attempts.map((attempt) => attempt()))
      const took = performance.now() - begun
      for (const result of results) assert.equal((result as { reason?: SkepError }).reason?.code, 'store_unavailable')
      // Deleting the probe's leftover has a bound of its own.
      assert.ok(took < 3_000, `took ${took} ms`)
    } finally {
      s3.resume()
    }
    await store.put('a', Buffer.from('2'), { ifAbsent: true })
    assert.equal(await text(store, 'a'), '2')
    await store.close()
  })

  test('a missing bucket and wrong keys are store_unavailable, and say so', async () => {
    const noBucket = openS3Store({ ...settings(''), bucket: 'no-such-bucket' })
    await assert.rejects(noBucket.get('a'), { code: 'store_unavailable', message: /bucket does not exist/ })
    const noKeys = openS3Store({ ...settings(''), credentials: { accessKeyId: 'x', secretAccessKey: 'y' } })
    await assert.rejects(noKeys.get('a'), { code: 'store_unavailable', message: /refuses the credentials/ })
    for (const store of [noBucket, noKeys]) await store.close()
  })

  describe('whose server ignores conditions', () => {
    /** Time moves by being waited for. */
    function times() {
      const clock = { at: 0 }
      return {
        clock,
        lease: { ttlMs: 60_000, settleMs: 5_000, now: () => clock.at, sleep: async (ms: number) => void (clock.at += ms) },
      }
    }

    test('one writer has all the conditions, a second one is refused and may read', async () => {
      const prefix = randomUUID()
      await using first = await behind({ ignoreConditions: true }, prefix, { lease: times().lease })
      await using second = await behind({ ignoreConditions: true }, prefix, { lease: times().lease })
      const etag = await first.store.put('a', Buffer.from('1'), { ifAbsent: true })
      await assert.rejects(first.store.put('a', Buffer.from('2'), { ifAbsent: true }), { code: 'precondition_failed' })
      await first.store.put('a', Buffer.from('2'), { ifMatch: etag })
      await assert.rejects(first.store.put('a', Buffer.from('3'), { ifMatch: etag }), { code: 'precondition_failed' })
      await assert.rejects(first.store.delete('a', { ifMatch: etag }), { code: 'precondition_failed' })
      await first.store.put('b', Buffer.from('1'))

      const refused = { code: 'store_conflict', message: new RegExp(`process ${process.pid} on .* only one writer`) }
      await assert.rejects(second.store.put('a', Buffer.from('4')), refused)
      await assert.rejects(second.store.put('a', Buffer.from('4'), { ifMatch: etag }), refused)
      await assert.rejects(second.store.delete('a'), refused)
      assert.equal(await text(second.store, 'a'), '2')
      assert.deepEqual((await second.store.list('')).keys, ['a', 'b'])

      await first.store.close()
      await second.store.put('a', Buffer.from('5'))
      assert.equal(await text(second.store, 'a'), '5')
    })

    test('a dead writer is followed once its lease has stood still for its time, and then knows it', async () => {
      const prefix = randomUUID()
      const [old, next] = [times(), times()]
      await using first = await behind({ ignoreConditions: true }, prefix, { lease: old.lease })
      await using second = await behind({ ignoreConditions: true }, prefix, { lease: next.lease })
      await first.store.put('a', Buffer.from('1'))
      await assert.rejects(second.store.put('a', Buffer.from('2')), { code: 'store_conflict' })
      next.clock.at += 59_000
      await assert.rejects(second.store.put('a', Buffer.from('2')), { code: 'store_conflict' })
      // A renewal starts the wait anew.
      old.clock.at += 30_000
      await first.store.put('a', Buffer.from('3'))
      next.clock.at += 1_000
      await assert.rejects(second.store.put('a', Buffer.from('2')), { code: 'store_conflict' })
      next.clock.at += 60_000
      await second.store.put('a', Buffer.from('4'))
      old.clock.at += 60_000
      await assert.rejects(first.store.put('a', Buffer.from('5')), { code: 'store_conflict' })
      assert.equal(await text(first.store, 'a'), '4')
    })

    test('of writers that start at once at most one is let through', async () => {
      const prefix = randomUUID()
      // Both read that nobody writes before either has written, and both have written before either reads again.
      const [haveRead, haveWritten] = [rendezvous(2), rendezvous(2)]
      const start = () => {
        let isFirst = true
        const onAnswer = async (request: IncomingMessage): Promise<'pass'> => {
          if (isFirst && request.method === 'GET' && request.url!.includes('/writer')) {
            isFirst = false
            await haveRead()
          }
          return 'pass'
        }
        return behind({ ignoreConditions: true, onAnswer }, prefix, { lease: { ...times().lease, sleep: () => haveWritten() } })
      }
      await using first = await start()
      await using second = await start()
      const results = await Promise.allSettled([first, second].map(({ store }, i) => store.put('a', Buffer.from(String(i)))))
      const reasons = results.map((result) => (result.status === 'fulfilled' ? 'done' : (result.reason as SkepError).code))
      assert.deepEqual(reasons.toSorted(), ['done', 'store_conflict'])
      assert.equal(await text(first.store, 'a'), String(reasons.indexOf('done')))
    })
  })

  test('the conditions are asked for again while the server is away', async () => {
    const store = openS3Store(settings(randomUUID()))
    await s3.kill()
    await assert.rejects(store.put('a', Buffer.from('1')), { code: 'store_unavailable' })
    await s3.restart()
    await store.put('a', Buffer.from('1'), { ifAbsent: true })
    await store.close()
  })
})

/** Resolves for all once `count` have come. */
function rendezvous(count: number): () => Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  let come = 0
  return () => {
    if (++come === count) resolve()
    return promise
  }
}
