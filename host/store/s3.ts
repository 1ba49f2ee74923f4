import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { SkepError } from '../errors.ts'
import { assertKey, assertPrefix, OWN_SEGMENT, pageLimit } from './_key.ts'
import { connect, DEFAULT_TOTAL_TIMEOUT_MS } from './_s3-client.ts'
import type { S3Connection } from './_s3-client.ts'
import { WriterLease } from './_s3-lease.ts'
import type { LeaseTimes } from './_s3-lease.ts'
import { S3Objects } from './_s3-objects.ts'
import { probeConditions } from './_s3-probe.ts'
import type { Conditions } from './_s3-probe.ts'
import type { Store, StoredObject, StorePage, WriteCondition } from './store.ts'

export interface S3StoreOptions extends S3Connection {
  bucket: string
  /** Without a slash at its end; `''` for the whole bucket. */
  prefix?: string
  /** For servers without conditional writes. */
  lease?: Partial<LeaseTimes>
}

/** Sends nothing: a host starts, and serves from its cache, while the server is away. */
export function openS3Store(options: S3StoreOptions): Store {
  const totalTimeoutMs = options.totalTimeoutMs ?? DEFAULT_TOTAL_TIMEOUT_MS
  const objects = new S3Objects(connect(options), { bucket: options.bucket, prefix: options.prefix ?? '', totalTimeoutMs })
  const lease = new WriterLease(objects, {
    // A write is a comparison and a request, each with the whole bound, begun with a third of the lease gone at most.
    ttlMs: Math.max(60_000, totalTimeoutMs * 4),
    settleMs: 5_000,
    now: () => performance.now(),
    sleep: (ms) => sleep(ms),
    ...options.lease,
  })
  return new S3Store(objects, lease)
}

class S3Store implements Store {
  readonly description: string
  readonly #objects: S3Objects
  readonly #lease: WriterLease
  #conditions: Promise<Conditions> | undefined
  #last: Promise<unknown> = Promise.resolve()

  constructor(objects: S3Objects, lease: WriterLease) {
    this.description = objects.description
    this.#objects = objects
    this.#lease = lease
  }

  async get(key: string, options: { ifNoneMatch?: string } = {}): Promise<StoredObject | 'unchanged' | undefined> {
    assertKey(key)
    const object = await this.#objects.get(key, options.ifNoneMatch)
    return object && object !== 'unchanged' && isTombstone(object.bytes) ? undefined : object
  }

  async put(key: string, bytes: Uint8Array, condition: WriteCondition = {}): Promise<string> {
    assertKey(key)
    if (isTombstone(bytes)) throw new SkepError('invalid_request', `"${key}": these bytes mean a deleted object here.`)
    const conditions = await this.#probed()
    if (!conditions.put) {
      return this.#alone(async () => {
        await this.#check(key, condition)
        return this.#objects.put(key, bytes)
      })
    }
    if (!condition.ifAbsent || condition.ifMatch !== undefined) return this.#objects.put(key, bytes, condition)
    return this.#create(key, bytes)
  }

  async delete(key: string, condition: { ifMatch?: string } = {}): Promise<void> {
    assertKey(key)
    const conditions = await this.#probed()
    if (!conditions.put) {
      return this.#alone(async () => {
        await this.#check(key, condition)
        await this.#objects.delete(key)
      })
    }
    if (condition.ifMatch === undefined) return this.#objects.delete(key)
    if (!conditions.delete) {
      await this.#objects.put(key, newTombstone(), { ifMatch: condition.ifMatch })
      return
    }
    // AWS answers 204 to a conditional delete of what is not there.
    if (!(await this.#objects.head(key))) throw new SkepError('precondition_failed', `"${key}" is gone since it was read.`)
    return this.#objects.delete(key, condition.ifMatch)
  }

  async list(prefix: string, page: { cursor?: string; limit?: number } = {}): Promise<StorePage> {
    assertPrefix(prefix)
    const limit = pageLimit(page.limit)
    const keys: string[] = []
    let cursor = page.cursor
    do {
      const listed = await this.#objects.list(prefix, cursor, limit - keys.length)
      for (const { key, size } of listed.entries) {
        if (key.startsWith(`${OWN_SEGMENT}/`)) continue
        if (size === TOMBSTONE_BYTES && (await this.get(key)) === undefined) continue
        keys.push(key)
      }
      cursor = listed.cursor
    } while (cursor !== undefined && keys.length < limit)
    return { keys, cursor }
  }

  async close(): Promise<void> {
    await this.#last
    // A hold that cannot be given up ends by itself.
    await this.#lease.close().catch(() => undefined)
    this.#objects.close()
  }

  /** Asked once, before the first write; asked again as long as the server is away. */
  async #probed(): Promise<Conditions> {
    const asked = (this.#conditions ??= probeConditions(this.#objects))
    try {
      return await asked
    } catch (error) {
      if (this.#conditions === asked) this.#conditions = undefined
      throw error
    }
  }

  /** Creates the object where there is none, or where a tombstone says so. */
  async #create(key: string, bytes: Uint8Array): Promise<string> {
    for (let round = 1; ; round++) {
      try {
        return await this.#objects.put(key, bytes, { ifAbsent: true })
      } catch (error) {
        if ((error as SkepError).code !== 'precondition_failed' || round === 3) throw error
        const object = (await this.#objects.head(key))?.size === TOMBSTONE_BYTES ? await this.#objects.get(key) : undefined
        if (!object || object === 'unchanged' || !isTombstone(object.bytes)) throw error
        try {
          return await this.#objects.put(key, bytes, { ifMatch: object.etag })
        } catch (lost) {
          // Somebody removed or replaced the tombstone: look again.
          if ((lost as SkepError).code !== 'precondition_failed') throw lost
        }
      }
    }
  }

  /** As the only writer, one write at a time: then comparing first and writing after is one step. */
  #alone<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(async () => {
      await this.#lease.ensure()
      return work()
    })
    this.#last = turn.catch(() => undefined)
    return turn
  }

  async #check(key: string, condition: WriteCondition): Promise<void> {
    if (condition.ifMatch === undefined && !condition.ifAbsent) return
    const etag = (await this.#objects.head(key))?.etag
    if (condition.ifAbsent && etag !== undefined) throw new SkepError('precondition_failed', `"${key}" exists already.`)
    if (condition.ifMatch !== undefined && condition.ifMatch !== etag) {
      throw new SkepError(
        'precondition_failed',
        `"${key}" ${etag === undefined ? 'is gone' : 'has been changed'} since it was read.`,
      )
    }
  }
}

/*
 * Some servers heed conditions on PUT and ignore them on DELETE (MinIO). A conditional delete is then a conditional PUT
 * of a tombstone, which every reader takes for nothing. The number makes its ETag one that no reader can hold.
 */
const TOMBSTONE = 'skep:deleted:'
const TOMBSTONE_BYTES = TOMBSTONE.length + 36

function newTombstone(): Uint8Array {
  return Buffer.from(TOMBSTONE + randomUUID())
}

function isTombstone(bytes: Uint8Array): boolean {
  return bytes.byteLength === TOMBSTONE_BYTES && Buffer.from(bytes.subarray(0, TOMBSTONE.length)).toString() === TOMBSTONE
}
