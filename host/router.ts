import { LRUCache } from 'lru-cache'
import type { z } from 'zod'
import { systemClock } from './clock.ts'
import type { Clock } from './clock.ts'
import { SkepError } from './errors.ts'
import { decodeRecord, functionRecord, keys, routeRecord, wildcardsOf } from './records.ts'
import type { FunctionRecord, RouteRecord } from './records.ts'
import type { Notice } from './registry.ts'
import type { Store } from './store/store.ts'

/** An answer younger than this is used as it is, ms. */
const FRESH = 1_000
/** One younger than this is used while it is read again behind it; an older one only when the store does not answer. */
const STALE = 2_000
/** How long a caller waits for a store that is slow to confirm what is cached, ms; then the cached answer serves. */
const PATIENCE = 250
/** After the store failed or was slow, what is cached serves unasked for so long, ms; each failure prolongs it. */
const DEGRADED = 1_000
/** Meanwhile the store is asked again this often, ms, and not by every request. */
const PROBE = 250
/** Look-ups under way at once. A flood of made-up hostnames must not become a flood on the store. */
const MOST_LOOKUPS = 256

interface Cached<T> {
  /** null: there is none. */
  record: T | null
  etag: string
  /** When the store was asked: what it said may have been old by the time it came. */
  readAt: number
}

/**
 * Hostname → deployment, from the store by way of a cache. `*.example.com` serves every name below example.com that has
 * no route of its own; the most specific wins. A store that is away leaves what is cached in force.
 *
 * The cached answer is, by its age: fresh (used) → stale (used, and read again behind it) → old (waited for the store).
 */
export class Router {
  readonly #store: Store
  readonly #clock: Clock
  /** What a hostname leads to, by its own route or by a wildcard. */
  readonly #routes: LRUCache<string, Cached<RouteRecord>>
  /** Wildcards' own records, so that many names below one cost one read, whether it exists or not. */
  readonly #wildcards: LRUCache<string, Cached<RouteRecord>>
  readonly #functions: LRUCache<string, Cached<FunctionRecord>>
  readonly #underWay = new Map<string, Promise<FunctionRecord | undefined>>()
  #lookups = 0
  /** Counts changes that were heard of: what was read before one is not cached after it. */
  #epoch = 0
  #degradedUntil = -Infinity
  #nextProbe = -Infinity

  constructor(store: Store, options: { cacheSize?: number; clock?: Clock } = {}) {
    this.#store = store
    this.#clock = options.clock ?? systemClock
    const max = options.cacheSize ?? 100_000
    this.#routes = new LRUCache({ max })
    this.#wildcards = new LRUCache({ max })
    this.#functions = new LRUCache({ max })
  }

  /** The function at a hostname when the cache knows it well enough: null for none there, undefined for 'ask `find`'. */
  peek(hostname: string): FunctionRecord | null | undefined {
    const route = this.#routes.get(hostname)
    if (route === undefined) return undefined
    let readAt = route.readAt
    let record: FunctionRecord | null = null
    if (route.record !== null) {
      const fn = this.#functions.get(functionKey(route.record))
      if (fn === undefined) return undefined
      readAt = Math.min(readAt, fn.readAt)
      record = fn.record
    }
    const now = this.#clock.now()
    const age = now - readAt
    if (age <= FRESH) return record
    const degraded = now <= this.#degradedUntil
    if (age > STALE && !degraded) return undefined
    if (!degraded || now >= this.#nextProbe) {
      this.#nextProbe = now + PROBE
      if (!this.#underWay.has(hostname)) void this.find(hostname).catch(() => {})
    }
    return record
  }

  /** Reads it from the store, or takes what is cached when the store is away. Rejects with `store_unavailable`, `store_corrupt` or `saturated`. */
  find(hostname: string): Promise<FunctionRecord | undefined> {
    const underWay = this.#underWay.get(hostname)
    if (underWay !== undefined) return underWay
    if (!isHostname(hostname)) return Promise.resolve(undefined)
    const cached = this.#cached(hostname)
    if (this.#lookups >= MOST_LOOKUPS) {
      if (cached !== undefined) return Promise.resolve(cached ?? undefined)
      return Promise.reject(new SkepError('saturated', 'Too many hostnames are being looked up'))
    }
    this.#lookups++
    const reading = this.#find(hostname).finally(() => {
      this.#lookups--
      if (this.#underWay.get(hostname) === finding) this.#underWay.delete(hostname)
    })
    const finding = cached === undefined ? reading : this.#orCached(reading, cached)
    this.#underWay.set(hostname, finding)
    return finding
  }

  /** A function by name, for calls that come by no hostname. */
  async findFunction(tenant: string, fn: string): Promise<FunctionRecord | undefined> {
    return (await this.#readFunction(tenant, fn)) ?? undefined
  }

  /** Something changed: what is cached of it is read again before it is used, unless the store is away. */
  forget(notice: Notice): void {
    this.#epoch++
    this.#underWay.clear()
    this.#degradedUntil = -Infinity
    if (notice.type === 'function') {
      expire(this.#functions.peek(functionKey(notice)))
      return
    }
    const { hostname } = notice
    expire(this.#routes.peek(hostname))
    if (!hostname.startsWith('*.')) return
    expire(this.#wildcards.peek(hostname))
    // Names that the wildcard answered for, or may answer for now.
    const suffix = hostname.slice(1)
    for (const [name, route] of this.#routes.entries()) if (name.endsWith(suffix)) expire(route)
  }

  async #find(hostname: string): Promise<FunctionRecord | undefined> {
    try {
      const route = await this.#readRoute(hostname)
      const found = route === null ? null : await this.#readFunction(route.tenant, route.function)
      this.#degradedUntil = -Infinity
      return found ?? undefined
    } catch (error) {
      if (isAway(error)) this.#degrade()
      throw error
    }
  }

  #degrade(): void {
    this.#degradedUntil = this.#clock.now() + DEGRADED
    this.#nextProbe = this.#clock.now() + PROBE
  }

  /** The store's answer if it comes in time, else the cached one. */
  async #orCached(
    reading: Promise<FunctionRecord | undefined>,
    cached: FunctionRecord | null,
  ): Promise<FunctionRecord | undefined> {
    let timer: object | undefined
    const late = new Promise<'late'>((resolve) => {
      timer = this.#clock.setTimeout(() => resolve('late'), PATIENCE)
    })
    try {
      const answer = await Promise.race([reading, late])
      if (answer !== 'late') return answer
      reading.catch(() => {})
      this.#degrade()
    } catch (error) {
      if (!isAway(error)) throw error
    } finally {
      this.#clock.clearTimeout(timer)
    }
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
    const own = this.#routes.get(hostname)
    // The ETag of a wildcard that answers for this name is not of the name's own record.
    let route = await this.#read(routeRecord, keys.route(hostname), own?.etag === '' ? undefined : own)
    let oldest = route.readAt
    for (const wildcard of route.record === null ? wildcardsOf(hostname) : []) {
      const found = await this.#readWildcard(wildcard, epoch)
      oldest = Math.min(oldest, found.readAt)
      if (found.record === null) continue
      route = { ...found, etag: '' }
      break
    }
    if (epoch === this.#epoch) this.#routes.set(hostname, { ...route, readAt: oldest })
    return route.record
  }

  async #readWildcard(wildcard: string, epoch: number): Promise<Cached<RouteRecord>> {
    const known = this.#wildcards.get(wildcard)
    if (known !== undefined && this.#clock.now() - known.readAt <= FRESH) return known
    const read = await this.#read(routeRecord, keys.route(wildcard), known)
    if (epoch === this.#epoch) this.#wildcards.set(wildcard, read)
    return read
  }

  async #readFunction(tenant: string, fn: string): Promise<FunctionRecord | null> {
    const epoch = this.#epoch
    const cacheKey = functionKey({ tenant, function: fn })
    const key = keys.function(tenant, fn)
    const read = await this.#read(functionRecord, key, this.#functions.get(cacheKey))
    // A record that was copied here from elsewhere would run another tenant's code under this one's hostname.
    if (read.record !== null && (read.record.tenant !== tenant || read.record.name !== fn)) {
      throw new SkepError('store_corrupt', `The store's object ${key} is of another function. Deploy the function again.`)
    }
    if (epoch === this.#epoch) this.#functions.set(cacheKey, read)
    return read.record
  }

  async #read<T>(schema: z.ZodType<T>, key: string, known: Cached<T> | undefined): Promise<Cached<T>> {
    const readAt = this.#clock.now()
    const etag = known?.etag ?? ''
    const object = await this.#store.get(key, etag === '' ? {} : { ifNoneMatch: etag })
    if (object === 'unchanged') return { record: known!.record, etag, readAt }
    if (object === undefined) return { record: null, etag: '', readAt }
    return { record: decodeRecord(schema, key, object.bytes), etag: object.etag, readAt }
  }
}

/** The version that answers one request, by the deployment's percentages; undefined when nothing is deployed. `mark`: from 0 up to 1. */
export function chooseVersion(record: FunctionRecord, mark?: number): string | undefined {
  const versions = record.deployment?.versions
  if (versions === undefined) return undefined
  if (versions.length === 1) return versions[0]!.id
  let left = (mark ?? Math.random()) * versions.reduce((sum, { percent }) => sum + percent, 0)
  for (const { id, percent } of versions) {
    left -= percent
    if (left < 0) return id
  }
  return versions[0]!.id
}

/** Made once for a record: a fresh text is to be joined, hashed and compared for every request. */
const functionKeys = new WeakMap<object, string>()

function functionKey(ref: { tenant: string; function: string }): string {
  let key = functionKeys.get(ref)
  if (key === undefined) functionKeys.set(ref, (key = `${ref.tenant}/${ref.function}`))
  return key
}

function expire(cached: Cached<unknown> | undefined): void {
  if (cached !== undefined) cached.readAt = -Infinity
}

function isAway(error: unknown): boolean {
  return error instanceof SkepError && error.code === 'store_unavailable'
}

function isHostname(hostname: string): boolean {
  return hostname.length > 0 && hostname.length <= 253 && /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/.test(hostname)
}
