import { LRUCache } from 'lru-cache'
import type { z } from 'zod'
import { SkepError } from './errors.ts'
import { decodeRecord, functionRecord, keys, routeRecord } from './records.ts'
import type { FunctionRecord, RouteRecord } from './records.ts'
import type { Notice } from './registry.ts'
import type { Store } from './store/store.ts'

/** An answer younger than this is used as it is, ms. */
const FRESH = 1_000
/** One younger than this is used while it is read again behind it; an older one only when the store does not answer. */
const STALE = 2_000
/** How long a caller waits for a store that is slow to confirm what is cached, ms; then the cached answer serves. */
const PATIENCE = 250
/** After the store failed or was slow, what is cached serves unasked for so long, ms. */
const DEGRADED = 1_000
/** Look-ups under way at once. A flood of made-up hostnames must not become a flood on the store. */
const MOST_LOOKUPS = 256
/** Labels of a hostname that are looked at for wildcards: each costs a look-up. */
const MOST_LABELS = 10

interface Cached<T> {
  /** null: there is none. */
  record: T | null
  etag: string
  readAt: number
}

/**
 * Hostname → deployment, from the store by way of a cache. `*.example.com` serves every name below example.com that has
 * no route of its own; the most specific wins. A store that is away leaves what is cached in force.
 */
export class Router {
  readonly #store: Store
  readonly #routes: LRUCache<string, Cached<RouteRecord>>
  readonly #functions: LRUCache<string, Cached<FunctionRecord>>
  readonly #underWay = new Map<string, Promise<FunctionRecord | undefined>>()
  readonly #now: () => number
  /** Counts changes that were heard of: what was read before one is not cached after it. */
  #epoch = 0
  #degradedUntil = 0

  constructor(store: Store, options: { cacheSize?: number; now?: () => number } = {}) {
    this.#store = store
    const max = options.cacheSize ?? 100_000
    this.#routes = new LRUCache({ max })
    this.#functions = new LRUCache({ max })
    this.#now = options.now ?? (() => performance.now())
  }

  /** The function at a hostname when the cache knows it well enough: null for none there, undefined for 'ask `find`'. */
  peek(hostname: string): FunctionRecord | null | undefined {
    const route = this.#routes.get(hostname)
    if (route === undefined) return undefined
    const now = this.#now()
    let age = now - route.readAt
    let record: FunctionRecord | null = null
    if (route.record !== null) {
      const fn = this.#functions.get(functionKey(route.record))
      if (fn === undefined) return undefined
      age = Math.max(age, now - fn.readAt)
      record = fn.record
    }
    if (age > STALE && now > this.#degradedUntil) return undefined
    if (age > FRESH && !this.#underWay.has(hostname)) void this.find(hostname).catch(() => {})
    return record
  }

  /** Reads it from the store, or takes what is cached when the store is away. Rejects with `store_unavailable` or `store_corrupt`. */
  find(hostname: string): Promise<FunctionRecord | undefined> {
    const underWay = this.#underWay.get(hostname)
    if (underWay !== undefined) return underWay
    if (!isHostname(hostname)) return Promise.resolve(undefined)
    if (this.#underWay.size >= MOST_LOOKUPS) return Promise.reject(new SkepError('saturated', 'Too many hostnames are being looked up'))
    const reading = this.#find(hostname).finally(() => this.#underWay.delete(hostname))
    const cached = this.#cached(hostname)
    const finding = cached === undefined ? reading : this.#orCached(reading, cached)
    this.#underWay.set(hostname, finding)
    return finding
  }

  /** A function by name, for calls that come by no hostname. */
  async findFunction(tenant: string, fn: string): Promise<FunctionRecord | undefined> {
    return (await this.#readFunction(tenant, fn)) ?? undefined
  }

  /** Something changed: what is cached of it is read again. */
  forget(notice: Notice): void {
    this.#epoch++
    if (notice.type === 'function') {
      this.#functions.delete(functionKey(notice))
      return
    }
    this.#routes.delete(notice.hostname)
    // Names that a wildcard answered for, or may answer for now.
    if (!notice.hostname.startsWith('*.')) return
    const suffix = notice.hostname.slice(1)
    for (const hostname of this.#routes.keys()) if (hostname.endsWith(suffix)) this.#routes.delete(hostname)
  }

  async #find(hostname: string): Promise<FunctionRecord | undefined> {
    const route = await this.#readRoute(hostname)
    if (route === null) return undefined
    return (await this.#readFunction(route.tenant, route.function)) ?? undefined
  }

  /** The store's answer if it comes in time, else the cached one. */
  async #orCached(reading: Promise<FunctionRecord | undefined>, cached: FunctionRecord | null): Promise<FunctionRecord | undefined> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(resolve, PATIENCE, 'late')
    })
    try {
      const answer = await Promise.race([reading, late])
      if (answer !== 'late') return answer
      reading.catch(() => {})
    } catch (error) {
      if (!(error instanceof SkepError) || error.code !== 'store_unavailable') throw error
    } finally {
      clearTimeout(timer)
    }
    this.#degradedUntil = this.#now() + DEGRADED
    return cached ?? undefined
  }

  #cached(hostname: string): FunctionRecord | null | undefined {
    const route = this.#routes.get(hostname)
    if (route === undefined) return undefined
    if (route.record === null) return null
    return this.#functions.get(functionKey(route.record))?.record
  }

  async #readRoute(hostname: string): Promise<RouteRecord | null> {
    const epoch = this.#epoch
    for (const candidate of candidates(hostname)) {
      const known = candidate === hostname ? this.#routes.get(hostname) : undefined
      const read = await this.#read(routeRecord, keys.route(candidate), known)
      if (read.record === null) continue
      // Under its own name only an exact route's ETag is of use.
      const etag = candidate === hostname ? read.etag : ''
      if (epoch === this.#epoch) this.#routes.set(hostname, { record: read.record, etag, readAt: this.#now() })
      return read.record
    }
    if (epoch === this.#epoch) this.#routes.set(hostname, { record: null, etag: '', readAt: this.#now() })
    return null
  }

  async #readFunction(tenant: string, fn: string): Promise<FunctionRecord | null> {
    const epoch = this.#epoch
    const key = functionKey({ tenant, function: fn })
    const read = await this.#read(functionRecord, keys.function(tenant, fn), this.#functions.get(key))
    if (epoch === this.#epoch) this.#functions.set(key, { ...read, readAt: this.#now() })
    return read.record
  }

  async #read<T>(schema: z.ZodType<T>, key: string, known: Cached<T> | undefined): Promise<{ record: T | null; etag: string }> {
    const etag = known?.etag ?? ''
    const object = await this.#store.get(key, etag === '' ? {} : { ifNoneMatch: etag })
    if (object === 'unchanged') return { record: known!.record, etag }
    if (object === undefined) return { record: null, etag: '' }
    return { record: decodeRecord(schema, key, object.bytes), etag: object.etag }
  }
}

function functionKey(ref: { tenant: string; function: string }): string {
  return `${ref.tenant}/${ref.function}`
}

function isHostname(hostname: string): boolean {
  return hostname.length > 0 && hostname.length <= 253 && /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/.test(hostname)
}

/** `a.b.c` → `a.b.c`, `*.b.c`, `*.c`. */
function candidates(hostname: string): string[] {
  const labels = hostname.split('.')
  const names = [hostname]
  const first = Math.max(1, labels.length - MOST_LABELS)
  for (let i = first; i < labels.length; i++) names.push(`*.${labels.slice(i).join('.')}`)
  return names
}
