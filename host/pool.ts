import type { SandboxFactory, SandboxFailure, SandboxSpec } from '../sandbox/sandbox.ts'
import type { Admission } from './admission.ts'
import { DATA_CODES } from './answer.ts'
import type { Call } from './call.ts'
import { systemClock } from './clock.ts'
import type { Clock } from './clock.ts'
import { SkepError } from './errors.ts'
import { Instance } from './instance.ts'
import type { FunctionLog } from './instance.ts'
import { Room } from './room.ts'

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
  admission: Admission
  observer: PoolObserver
  /** What is remembered of how versions behaved; without it, everything may be loaded. */
  conduct?: PoolConduct
  clock?: Clock
}

export interface PoolConduct {
  /** Why a version is not loaded now, and for how many seconds. */
  refusal(version: VersionRef): { seconds: number } | undefined
  /** It was loaded to see how one event goes: others must not follow before that is known. */
  isProbe(version: VersionRef): boolean
}

export interface PoolObserver {
  /** A function was loaded for a call that waited for it. `phases`: ms each. */
  coldStart(version: VersionRef, phases: { store: number; start: number }): void
  evicted(reason: 'count' | 'memory' | 'idle'): void
  failed(version: VersionRef, failure: SandboxFailure): void
  /** It could not be loaded; `requestId` is of a call that waited for it. Told once for each try. */
  notLoaded(version: VersionRef, error: SkepError, requestId: string): void
  log(version: VersionRef, entry: FunctionLog): void
}

/** How long a failed start is remembered, ms: the first time, and at most. Callers get its error until then. */
const RETRY_FIRST = 500
const RETRY_MOST = 30_000
const SWEEP = 1_000
/** Before an instance is tried to be moved again, ms. */
const MOVE_PAUSE = 2_000
/** Calls that may wait for one load; each may hold a body of WHOLE_BODY. */
const WAITING_MOST = 2_000
/** Processes that a call may lose before it gives up. */
const MOST_MOVES = 3

interface Slot {
  readonly key: string
  readonly version: VersionRef
  /** Counted against the isolates that there may be; false while it waits for room. */
  admitted: boolean
  instance: Instance | undefined
  /** Loaded for one event; it becomes `instance` when that has gone well. */
  probe: Instance | undefined
  /** Calls that wait for the load. */
  waiting: Call[]
}

/**
 * The loaded isolates of this process, one per function version: loads on demand and evicts the least recently used.
 *
 *     slot:  wants room ──▶ loading ──▶ ready ──▶ (leaving: out of its slot, finishes what it has) ──▶ gone
 *                └─────────────┴──▶ failed: its calls get the error; so do others until the pause is over
 */
export class Pool {
  readonly #options: PoolOptions
  readonly #clock: Clock
  readonly #slots = new Map<string, Slot>()
  /** Instances without a slot that still finish something. */
  readonly #leaving = new Set<Instance>()
  /** Loads that are to take over from a slot's instance, by key. */
  readonly #successors = new Map<string, Slot>()
  readonly #failures = new Map<string, { error: SkepError; count: number; until: number }>()
  readonly #room: Room
  #sweeper: object | undefined
  #closed = false
  #emptied: (() => void) | undefined

  constructor(options: PoolOptions) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#room = new Room(this.#clock)
    this.#armSweep()
  }

  /** Runs a call on the version's isolate, loading it first where it is not loaded. Always answers the call in the end. */
  run(version: VersionRef, call: Call): void {
    if (call.phase !== 'waiting') return
    // One that was moved had been taken in before.
    if (this.#closed && call.moves === 0) {
      call.fail('draining')
      return
    }
    const key = keyOf(version)
    const slot = this.#slots.get(key)
    if (slot === undefined) this.#load(key, version, call)
    else if (slot.instance?.state === 'ready') slot.instance.accept(call)
    else this.#wait(slot, call)
  }

  #wait(slot: Slot, call: Call): void {
    const refusal = this.#options.conduct?.refusal(slot.version)
    if (refusal !== undefined) {
      call.fail('quarantined', refusal.seconds)
      return
    }
    this.#settleProbe(slot)
    if (slot.instance?.state === 'ready') slot.instance.accept(call)
    else if (slot.waiting.length < WAITING_MOST) slot.waiting.push(call)
    else {
      if (call.use !== undefined) this.#options.admission.usage.limited(call.use, 'concurrency')
      call.fail('overloaded')
    }
  }

  /** One that was tried and did well is an instance like any other. */
  #settleProbe(slot: Slot): void {
    if (slot.probe === undefined || this.#options.conduct?.isProbe(slot.version) === true) return
    slot.instance = slot.probe
    slot.probe = undefined
    for (const call of slot.waiting.splice(0)) this.run(slot.version, call)
  }

  /** Counts of isolates by state, and their memory in bytes. */
  stats(): { ready: number; loading: number; draining: number; memoryBytes: number; inFlight: number } {
    let ready = 0
    let memoryBytes = 0
    let inFlight = 0
    for (const slot of this.#slots.values()) {
      const instance = slot.instance ?? slot.probe
      if (instance?.state !== 'ready') continue
      ready++
      memoryBytes += instance.memoryBytes
      inFlight += instance.inFlight
    }
    for (const instance of this.#leaving) {
      memoryBytes += instance.memoryBytes
      inFlight += instance.inFlight
    }
    return { ready, loading: this.#slots.size - ready, draining: this.#leaving.size, memoryBytes, inFlight }
  }

  /** A function was changed: that it did not start says nothing any more. */
  forgetFailures(tenant: string, fn: string): void {
    const prefix = `${tenant}/${fn}@`
    for (const key of this.#failures.keys()) if (key.startsWith(prefix)) this.#failures.delete(key)
  }

  /** Memory is short: drops what is at rest. */
  shed(): void {
    while (this.#evict('memory'));
  }

  /** Takes nothing new, lets everything finish, those that still load included, and ends what is left after `graceMs`. */
  async close(graceMs: number): Promise<void> {
    this.#closed = true
    this.#clock.clearTimeout(this.#sweeper)
    for (const slot of [...this.#slots.values(), ...this.#successors.values()]) (slot.instance ?? slot.probe)?.drain()
    if (!this.#isEmpty()) {
      await new Promise<void>((resolve) => {
        const timer = this.#clock.setTimeout(resolve, graceMs)
        this.#emptied = () => {
          this.#clock.clearTimeout(timer)
          resolve()
        }
      })
    }
    for (const { waiting } of this.#slots.values()) for (const call of waiting.splice(0)) call.fail('draining')
    for (const instance of this.#leaving) instance.dispose()
    await this.#options.factory.close()
  }

  #load(key: string, version: VersionRef, call: Call): void {
    const refusal = this.#options.conduct?.refusal(version)
    if (refusal !== undefined) {
      call.fail('quarantined', refusal.seconds)
      return
    }
    const failure = this.#failures.get(key)
    if (failure !== undefined && this.#clock.now() < failure.until) {
      call.fail(failure.error.code)
      return
    }
    const slot = createSlot(key, version, [call])
    this.#slots.set(key, slot)
    void this.#loadSlot(slot)
  }

  async #loadSlot(slot: Slot): Promise<void> {
    try {
      const { instance, phases } = await this.#create(slot)
      this.#failures.delete(slot.key)
      this.#options.observer.coldStart(slot.version, phases)
      if (this.#options.conduct?.isProbe(slot.version) === true) this.#runProbe(slot, instance)
      for (const call of slot.waiting.splice(0)) {
        // It may have been lost in between: then these load it anew.
        if (instance.state !== 'ready') this.#rerun(slot.version, call)
        else if (call.phase === 'waiting') instance.accept(call)
      }
      if (this.#closed || instance.retired) instance.drain()
    } catch (error) {
      if (this.#slots.get(slot.key) === slot) this.#slots.delete(slot.key)
      this.#loadFailed(slot, error)
    }
    this.#roomMade()
  }

  /** One event, and the answer of those that came with it is that they have to wait for how it goes. */
  #runProbe(slot: Slot, instance: Instance): void {
    slot.probe = instance
    slot.instance = undefined
    for (const call of slot.waiting.splice(0)) {
      if (call.phase !== 'waiting') continue
      if (instance.isIdle && instance.state === 'ready') instance.accept(call)
      else call.fail('quarantined', 1)
    }
    if (instance.isIdle) instance.drain()
  }

  /**
   * Loads a version anew, where its factory now wants it. Calls go to the old instance until the new one is ready, and
   * from then on to the new one; the old one finishes what it has.
   */
  #replace(slot: Slot, old: Instance): void {
    const { key, version } = slot
    if (this.#closed || this.#successors.has(key) || this.#slots.get(key) !== slot) return
    const next = createSlot(key, version, [])
    this.#successors.set(key, next)
    void this.#create(next)
      .then(({ instance }) => {
        const replaces = this.#slots.get(key) === slot && slot.instance === old && old.state === 'ready'
        // It was lost, or evicted, while this one was loaded.
        const isFree = !this.#slots.has(key)
        this.#successors.delete(key)
        if (replaces) old.drain()
        if ((replaces || isFree) && instance.state === 'ready' && !this.#closed) this.#slots.set(key, next)
        if (this.#slots.get(key) !== next || instance.retired) instance.drain()
      })
      .catch((error: unknown) => {
        this.#successors.delete(key)
        if (this.#slots.get(key) !== slot) return
        // While the store is away it answers on from where it is: elsewhere it would not answer at all.
        if (error instanceof SkepError && error.code === 'store_unavailable') this.#replaceLater(slot, old)
        // Where it is, it cannot stay: it is loaded anew by its next call, whose error is then somebody's to see.
        else old.drain()
      })
      .finally(() => this.#roomMade())
  }

  #replaceLater(slot: Slot, old: Instance): void {
    const timer = this.#clock.setTimeout(() => {
      if (slot.instance === old && old.state === 'ready') this.#replace(slot, old)
    }, MOVE_PAUSE)
    ;(timer as Partial<NodeJS.Timeout>).unref?.()
  }

  async #create(slot: Slot): Promise<{ instance: Instance; phases: { store: number; start: number } }> {
    // Counted in the same moment, so that loads under way cannot pass the limit together.
    await this.#room.wait(() => (slot.admitted = this.#hasRoom()))
    const began = this.#clock.now()
    const spec = await this.#options.load(slot.version)
    const loaded = this.#clock.now()
    const { factory, admission } = this.#options
    const use = admission.usage.of(slot.version.tenant, slot.version.function)
    const instance = new Instance(
      slot.key,
      spec,
      use,
      { factory, clock: this.#clock, admission },
      {
        leaving: (leaving) => this.#left(slot, leaving),
        idle: () => this.#roomMade(),
        moving: (moving) => this.#replace(slot, moving),
        ended: (ended, failure, calls) => this.#ended(slot, ended, failure, calls),
        log: (_, entry) => this.#options.observer.log(slot.version, entry),
      },
    )
    slot.instance = instance
    await instance.load()
    return { instance, phases: { store: loaded - began, start: this.#clock.now() - loaded } }
  }

  /** A call whose isolate was lost before it began. */
  #rerun(version: VersionRef, call: Call): void {
    if (call.moves++ < MOST_MOVES) this.run(version, call)
    else call.fail('worker_lost')
  }

  #loadFailed(slot: Slot, error: unknown): void {
    const isKnown = error instanceof SkepError && DATA_CODES.has(error.code)
    const coded = isKnown ? error : new SkepError('internal', 'A load failed', { cause: error })
    const count = (this.#failures.get(slot.key)?.count ?? 0) + 1
    const pause = Math.min(RETRY_MOST, RETRY_FIRST * 2 ** (count - 1))
    // A lost cell or an absent store is no fault of the function: it is tried again at the next call.
    if (coded.code === 'start_failed' || coded.code === 'store_corrupt') {
      this.#failures.set(slot.key, { error: coded, count, until: this.#clock.now() + pause })
    }
    if (!this.#closed) this.#options.observer.notLoaded(slot.version, coded, slot.waiting[0]?.requestId ?? '')
    for (const call of slot.waiting.splice(0)) {
      if (coded.code === 'worker_lost' && !this.#closed) this.#rerun(slot.version, call)
      else call.fail(coded.code, coded.details?.retryAfter as number | undefined)
    }
  }

  #left(slot: Slot, instance: Instance): void {
    if (this.#slots.get(slot.key) === slot) this.#slots.delete(slot.key)
    this.#leaving.add(instance)
  }

  #ended(slot: Slot, instance: Instance, failure: SandboxFailure | undefined, calls: Call[]): void {
    this.#leaving.delete(instance)
    if (this.#slots.get(slot.key) === slot) this.#slots.delete(slot.key)
    if (failure !== undefined) this.#options.observer.failed(slot.version, failure)
    for (const call of calls) this.run(slot.version, call)
    this.#roomMade()
  }

  #isEmpty(): boolean {
    return this.#slots.size === 0 && this.#leaving.size === 0 && this.#successors.size === 0
  }

  #roomMade(): void {
    if (this.#closed && this.#isEmpty()) this.#emptied?.()
    this.#room.made()
  }

  /** For one more isolate, evicting the least recently used that are at rest. */
  #hasRoom(): boolean {
    while (this.stats().memoryBytes > this.#options.maxMemory) if (!this.#evict('memory')) return false
    let count = this.#leaving.size
    for (const { admitted } of this.#slots.values()) if (admitted) count++
    for (const { admitted } of this.#successors.values()) if (admitted) count++
    return count < this.#options.maxIsolates || this.#evict('count')
  }

  /** False when none is at rest. */
  #evict(reason: 'count' | 'memory'): boolean {
    let oldest: Instance | undefined
    for (const { instance } of this.#slots.values()) {
      if (instance?.state !== 'ready' || !instance.isIdle) continue
      if (oldest === undefined || instance.lastUsed < oldest.lastUsed) oldest = instance
    }
    if (oldest === undefined) return false
    oldest.drain()
    this.#options.observer.evicted(reason)
    return true
  }

  #armSweep(): void {
    this.#sweeper = this.#clock.setTimeout(() => {
      this.#sweep()
      this.#armSweep()
    }, SWEEP)
    // The pool alone keeps no process alive.
    ;(this.#sweeper as Partial<NodeJS.Timeout>).unref?.()
  }

  #sweep(): void {
    const now = this.#clock.now()
    const before = now - this.#options.idleMs
    for (const slot of this.#slots.values()) {
      this.#settleProbe(slot)
      const { instance } = slot
      if (instance?.state !== 'ready' || !instance.isIdle || instance.lastUsed > before) continue
      instance.drain()
      this.#options.observer.evicted('idle')
    }
    while (this.stats().memoryBytes > this.#options.maxMemory && this.#evict('memory'));
    for (const [key, { until }] of this.#failures) if (until + RETRY_MOST < now) this.#failures.delete(key)
  }
}

function createSlot(key: string, version: VersionRef, waiting: Call[]): Slot {
  return { key, version, admitted: false, instance: undefined, probe: undefined, waiting }
}

/** Made once for a reference: a fresh text is to be joined, hashed and compared for every request. */
const keys = new WeakMap<VersionRef, string>()

function keyOf(version: VersionRef): string {
  let key = keys.get(version)
  if (key === undefined) keys.set(version, (key = `${version.tenant}/${version.function}@${version.version}`))
  return key
}
