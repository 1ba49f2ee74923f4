import type { SandboxFactory, SandboxFailure, SandboxSpec } from '../sandbox/sandbox.ts'
import type { Call } from './call.ts'
import { SkepError } from './errors.ts'
import { Instance } from './instance.ts'
import type { FunctionLog } from './instance.ts'

/** One version of a function. */
export interface VersionRef {
  tenant: string
  function: string
  version: string
}

export interface PoolOptions {
  factory: SandboxFactory
  /** Reads a version from the store. Rejects with `store_unavailable`, `store_corrupt` or `not_found`. */
  load: (version: VersionRef) => Promise<SandboxSpec>
  maxIsolates: number
  /** Bytes of all isolates together. */
  maxMemory: number
  /** ms without a call after which an isolate is dropped. */
  idleMs: number
  observer: PoolObserver
}

export interface PoolObserver {
  /** A function was loaded for a call that waited for it. `phases`: ms each. */
  coldStart(version: VersionRef, phases: { store: number; start: number }): void
  evicted(reason: 'count' | 'memory' | 'idle'): void
  failed(version: VersionRef, failure: SandboxFailure): void
  log(version: VersionRef, entry: FunctionLog): void
}

/** How long a failed start is remembered, ms: the first time, and at most. Callers get its error until then. */
const RETRY_FIRST = 500
const RETRY_MOST = 30_000
/** How long a call waits for room when every loaded isolate is at work, ms. */
const ROOM_WAIT = 5_000
const SWEEP = 1_000

interface Slot {
  version: VersionRef
  instance: Instance | undefined
  /** Calls that wait for the load. */
  waiting: Call[]
}

/** The loaded isolates of this process, one per function version: loads on demand and evicts the least recently used. */
export class Pool {
  readonly #options: PoolOptions
  readonly #slots = new Map<string, Slot>()
  /** Retired instances that still finish something. */
  readonly #leaving = new Set<Instance>()
  readonly #failures = new Map<string, { error: SkepError; count: number; until: number }>()
  readonly #roomWaiters: (() => void)[] = []
  readonly #sweeper: NodeJS.Timeout
  #closed = false

  constructor(options: PoolOptions) {
    this.#options = options
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP)
    this.#sweeper.unref()
  }

  /** Runs a call on the version's isolate, loading it first where it is not loaded. Always answers the call in the end. */
  run(version: VersionRef, call: Call): void {
    if (call.phase !== 'waiting' && call.phase !== 'running') return
    const key = keyOf(version)
    const slot = this.#slots.get(key)
    if (slot?.instance?.state === 'ready') {
      slot.instance.accept(call)
      return
    }
    if (slot !== undefined && slot.instance?.state !== 'draining') {
      if (slot.waiting.length >= WAITING_MOST) call.fail('overloaded')
      else slot.waiting.push(call)
      return
    }
    this.#load(key, version, [call])
  }

  /** Loads a version without a call, for checks and warm-up. Rejects where it does not start. */
  async warm(version: VersionRef): Promise<void> {
    const key = keyOf(version)
    if (this.#slots.get(key)?.instance?.state !== 'ready') await this.#create(key, { version, instance: undefined, waiting: [] })
  }

  /** Counts of isolates by state, and their memory in bytes. */
  stats(): { ready: number; loading: number; draining: number; memoryBytes: number; inFlight: number } {
    let ready = 0
    let memoryBytes = 0
    let inFlight = 0
    for (const { instance } of this.#slots.values()) {
      if (instance?.state !== 'ready') continue
      ready++
      memoryBytes += instance.memoryBytes
      inFlight += instance.inFlight
    }
    return { ready, loading: this.#slots.size - ready, draining: this.#leaving.size, memoryBytes, inFlight }
  }

  /** A function was changed: that it did not start says nothing any more. */
  forgetFailures(tenant: string, fn: string): void {
    for (const key of this.#failures.keys()) if (key.startsWith(`${tenant}/${fn}@`)) this.#failures.delete(key)
  }

  /** Lets everything finish, then ends what is left after `graceMs`. */
  async close(graceMs: number): Promise<void> {
    this.#closed = true
    clearInterval(this.#sweeper)
    const deadline = performance.now() + graceMs
    for (const [key, { instance }] of this.#slots) if (instance !== undefined) this.#retire(key, instance)
    while (this.#leaving.size > 0 && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 10))
    for (const instance of this.#leaving) instance.dispose()
    await this.#options.factory.close()
  }

  #load(key: string, version: VersionRef, calls: Call[]): void {
    const failure = this.#failures.get(key)
    if (failure !== undefined && performance.now() < failure.until) {
      for (const call of calls) call.fail(failure.error.code)
      return
    }
    const slot: Slot = { version, instance: undefined, waiting: calls }
    this.#slots.set(key, slot)
    void this.#loadSlot(key, slot)
  }

  async #loadSlot(key: string, slot: Slot): Promise<void> {
    try {
      const instance = await this.#create(key, slot)
      this.#failures.delete(key)
      for (const call of slot.waiting.splice(0)) if (call.phase === 'waiting' || call.phase === 'running') instance.accept(call)
    } catch (error) {
      if (this.#slots.get(key) === slot) this.#slots.delete(key)
      this.#rememberFailure(key, slot, error)
    }
  }

  async #create(key: string, slot: Slot): Promise<Instance> {
    await this.#makeRoom()
    const began = performance.now()
    const spec = await this.#options.load(slot.version)
    const loaded = performance.now()
    const instance = new Instance(key, spec, this.#options.factory, {
      idle: () => this.#idle(),
      ended: (ended, failure, calls) => this.#ended(key, slot.version, ended, failure, calls),
      log: (_, entry) => this.#options.observer.log(slot.version, entry),
    })
    slot.instance = instance
    this.#slots.set(key, slot)
    await instance.load()
    if (this.#closed) instance.dispose()
    this.#options.observer.coldStart(slot.version, { store: loaded - began, start: performance.now() - loaded })
    return instance
  }

  #rememberFailure(key: string, slot: Slot, error: unknown): void {
    const coded = error instanceof SkepError ? error : new SkepError('internal', String((error as Error)?.stack ?? error))
    const count = (this.#failures.get(key)?.count ?? 0) + 1
    const pause = Math.min(RETRY_MOST, RETRY_FIRST * 2 ** (count - 1))
    // A lost cell or an absent store is no fault of the function: it is tried again at once, or soon.
    const until = coded.code === 'start_failed' || coded.code === 'store_corrupt' ? performance.now() + pause : 0
    this.#failures.set(key, { error: coded, count, until })
    const stack = coded.details?.stack
    const text = typeof stack === 'string' && stack !== '' ? `${coded.message}\n${stack}` : coded.message
    this.#options.observer.log(slot.version, { requestId: slot.waiting[0]?.requestId ?? '', level: 'error', text: `${coded.code}: ${text}` })
    for (const call of slot.waiting.splice(0)) {
      if (coded.code === 'worker_lost' && call.moves++ < 3) this.run(slot.version, call)
      else call.fail(coded.code)
    }
  }

  #ended(key: string, version: VersionRef, instance: Instance, failure: SandboxFailure | undefined, calls: Call[]): void {
    this.#leaving.delete(instance)
    if (this.#slots.get(key)?.instance === instance) this.#slots.delete(key)
    if (failure !== undefined) this.#options.observer.failed(version, failure)
    for (const call of calls) this.run(version, call)
    this.#idle()
  }

  #idle(): void {
    this.#roomWaiters.shift()?.()
  }

  /** Waits until one more isolate may be loaded, evicting the least recently used that is at rest. */
  async #makeRoom(): Promise<void> {
    const deadline = performance.now() + ROOM_WAIT
    while (this.#loaded() >= this.#options.maxIsolates && !this.#evict('count')) {
      const left = deadline - performance.now()
      if (left <= 0) throw new SkepError('saturated', `All ${this.#options.maxIsolates} isolates of this process are at work.`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left)
        this.#roomWaiters.push(() => {
          clearTimeout(timer)
          resolve()
        })
      })
    }
  }

  #loaded(): number {
    let count = this.#leaving.size
    for (const { instance } of this.#slots.values()) if (instance !== undefined) count++
    return count
  }

  /** False when none is at rest. */
  #evict(reason: 'count' | 'memory'): boolean {
    let oldest: { key: string; instance: Instance } | undefined
    for (const [key, { instance }] of this.#slots) {
      if (instance?.state !== 'ready' || !instance.isIdle) continue
      if (oldest === undefined || instance.lastUsed < oldest.instance.lastUsed) oldest = { key, instance }
    }
    if (oldest === undefined) return false
    this.#retire(oldest.key, oldest.instance)
    this.#options.observer.evicted(reason)
    return true
  }

  #retire(key: string, instance: Instance): void {
    if (this.#slots.get(key)?.instance === instance) this.#slots.delete(key)
    this.#leaving.add(instance)
    instance.drain()
  }

  #sweep(): void {
    const before = performance.now() - this.#options.idleMs
    for (const [key, { instance }] of this.#slots) {
      if (instance?.state !== 'ready' || !instance.isIdle || instance.lastUsed > before) continue
      this.#retire(key, instance)
      this.#options.observer.evicted('idle')
    }
    while (this.stats().memoryBytes > this.#options.maxMemory && this.#evict('memory'));
    const now = performance.now()
    for (const [key, { until }] of this.#failures) if (until + RETRY_MOST < now) this.#failures.delete(key)
  }
}

/** Calls that may wait for one load. */
const WAITING_MOST = 10_000

function keyOf(version: VersionRef): string {
  return `${version.tenant}/${version.function}@${version.version}`
}

