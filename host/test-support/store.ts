import { createHash } from 'node:crypto'
import { SkepError } from '../errors.ts'
import { encodeRecord } from '../records.ts'
import type { Store, StoredObject, StorePage, WriteCondition } from '../store/store.ts'

/** A store in memory that counts, fails and stalls as it is told. */
export class MemoryStore implements Store {
  readonly description = 'memory:'
  readonly objects = new Map<string, Uint8Array>()
  /** Keys of the gets so far, with a `=` behind those that were answered 'unchanged'. */
  readonly gets: string[] = []
  isAway = false
  /** While set, a get waits for it. */
  gate: Promise<void> | undefined

  async get(key: string, options: { ifNoneMatch?: string } = {}): Promise<StoredObject | 'unchanged' | undefined> {
    this.gets.push(key)
    const at = this.gets.length - 1
    const bytes = this.objects.get(key)
    await this.gate
    if (this.isAway) throw new SkepError('store_unavailable', 'The store is away')
    if (bytes === undefined) return undefined
    const etag = etagOf(bytes)
    if (etag !== options.ifNoneMatch) return { bytes, etag }
    this.gets[at] += '='
    return 'unchanged'
  }

  async put(key: string, bytes: Uint8Array, condition: WriteCondition = {}): Promise<string> {
    if (this.isAway) throw new SkepError('store_unavailable', 'The store is away')
    const there = this.objects.get(key)
    const failed =
      (condition.ifAbsent === true && there !== undefined) ||
      (condition.ifMatch !== undefined && (there === undefined || etagOf(there) !== condition.ifMatch))
    if (failed) throw new SkepError('precondition_failed', `${key} was changed`)
    this.objects.set(key, bytes)
    return etagOf(bytes)
  }

  async delete(key: string): Promise<void> {
    this.objects.delete(key)
  }

  async list(prefix: string): Promise<StorePage> {
    return { keys: [...this.objects.keys()].filter((key) => key.startsWith(prefix)).toSorted(), cursor: undefined }
  }

  async close(): Promise<void> {}

  set(key: string, record: unknown): void {
    this.objects.set(key, typeof record === 'string' ? Buffer.from(record) : encodeRecord(record))
  }

  /** What was asked for since the last call. */
  takeGets(): string[] {
    return this.gets.splice(0)
  }
}

/** Holds the store's gets until `open` is called. */
export function hold(store: MemoryStore): { open(): void } {
  const { promise, resolve } = Promise.withResolvers<void>()
  store.gate = promise
  return {
    open() {
      store.gate = undefined
      resolve()
    },
  }
}

function etagOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex').slice(0, 16)
}
