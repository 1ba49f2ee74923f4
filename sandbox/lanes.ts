import { systemClock } from '../host/clock.ts'
import type { Clock } from '../host/clock.ts'

/**
 * Which isolates of this process run at once. isolated-vm runs every entry in a thread of its own, as many as there are,
 * so a process full of spinning isolates would leave each a small share of the cores, and the event loop that serves
 * all of them too. Hence every entry takes a place in a lane:
 *
 *     light    the function's entries take a few milliseconds of CPU time on average
 *     fresh    nothing is known of it, or its bundle is evaluated
 *     costly   the rest
 *
 * A lane has its own bound, so that light entries never wait behind costly ones. A place that is free goes to the tenant
 * that has used the least CPU time of late, and of its functions to the one that has.
 *
 * The lanes are in the process that holds the isolates, a worker or a cell: there the threads are, and there all that
 * enters passes, the completions, timers and body chunks that no listener sees included.
 */
export class Lanes {
  readonly #clock: Clock
  readonly #lanes: Record<LaneName, Lane>
  readonly #functions = new Map<string, Share>()
  readonly #tenants = new Map<string, Share>()

  /** `cores`: the share of the machine that this process may fill. */
  constructor(cores: number, clock: Clock = systemClock) {
    this.#clock = clock
    this.#lanes = {
      light: createLane(cores + 1, 5),
      fresh: createLane(Math.max(1, Math.floor(cores / 2)), 20),
      costly: createLane(Math.max(1, cores - 1), Infinity),
    }
  }

  /** Of one isolate. It is known by its function, so that a fresh isolate of a costly function is not a fresh one. */
  pass(spec: { name: string; tenant: string }): Pass {
    const tenant = this.#share(this.#tenants, spec.tenant)
    return new Pass(this, this.#share(this.#functions, spec.name), tenant)
  }

  counts(): Record<LaneName, { inside: number; waiting: number }> {
    const count = ({ inside, waiting }: Lane) => ({ inside: inside.length, waiting: waiting.length })
    return { light: count(this.#lanes.light), fresh: count(this.#lanes.fresh), costly: count(this.#lanes.costly) }
  }

  /** The calls below are a pass's own. True when it is inside at once. */
  enter(pass: Pass, isStart: boolean): boolean {
    const { meanMs } = pass.function
    const lane = this.#lanes[meanMs > LIGHT_MS ? 'costly' : isStart || meanMs < 0 ? 'fresh' : 'light']
    pass.lane = lane
    if (lane.inside.length < lane.most && lane.waiting.length === 0) {
      lane.inside.push(pass)
      return true
    }
    lane.waiting.push(pass)
    this.#armTimer(lane)
    return false
  }

  left(pass: Pass, cpuMs: number): void {
    const now = this.#clock.now()
    decay(pass.function, now)
    decay(pass.tenant, now)
    pass.function.usedMs += cpuMs
    pass.tenant.usedMs += cpuMs
    remove(pass.lane!.inside, pass)
    this.#fill(pass.lane!)
  }

  /** It does not want to enter any more. */
  withdrawn(pass: Pass): void {
    remove(pass.lane!.waiting, pass)
  }

  #fill(lane: Lane): void {
    while (lane.waiting.length > 0 && lane.inside.length < lane.most) {
      const next = this.#next(lane)
      remove(lane.waiting, next)
      lane.inside.push(next)
      next.granted()
    }
  }

  /** There are no more that wait than isolates, and of two that come one after the other the first goes first. */
  #next({ waiting }: Lane): Pass {
    if (waiting.length === 1) return waiting[0]!
    const now = this.#clock.now()
    let best: Pass | undefined
    for (const pass of waiting) {
      decay(pass.tenant, now)
      decay(pass.function, now)
      if (best === undefined || isBefore(pass, best)) best = pass
    }
    return best!
  }

  #armTimer(lane: Lane): void {
    if (lane.timer !== undefined || lane.waiting.length === 0 || lane.overdueMs === Infinity) return
    for (const pass of lane.inside) pass.seen = pass.entries
    lane.timer = this.#clock.setTimeout(() => this.#moveOverdue(lane), lane.overdueMs)
    // The lanes alone keep no process alive.
    ;(lane.timer as Partial<NodeJS.Timeout>).unref?.()
  }

  /**
   * While others wait, an entry that takes too long for its lane counts as a costly one, so that functions which were
   * light until now cannot block the light lane together. Not without end: what runs at once stays bounded.
   */
  #moveOverdue(lane: Lane): void {
    lane.timer = undefined
    const { costly } = this.#lanes
    for (const pass of [...lane.inside]) {
      if (pass.seen !== pass.entries || costly.inside.length >= costly.most + OVERFLOW) continue
      remove(lane.inside, pass)
      costly.inside.push(pass)
      pass.lane = costly
    }
    this.#fill(lane)
    this.#armTimer(lane)
  }

  #share(shares: Map<string, Share>, name: string): Share {
    let share = shares.get(name)
    if (share !== undefined) return share
    if (shares.size >= REMEMBERED) for (const [other, { passes }] of shares) if (passes === 0) shares.delete(other)
    share = { meanMs: -1, usedMs: 0, decayedAt: this.#clock.now(), passes: 0 }
    shares.set(name, share)
    return share
  }
}

/** The way of one isolate into its lane, entry by entry. */
export class Pass {
  readonly #lanes: Lanes
  readonly function: Share
  readonly tenant: Share
  /** Where it is or wants to be. */
  lane: Lane | undefined
  /** Entries so far, and how many there were when somebody began to wait. */
  entries = 0
  seen = -1
  #state: 'outside' | 'waiting' | 'inside' | 'closed' = 'outside'
  #isStart = false
  #granted: (() => void) | undefined

  constructor(lanes: Lanes, fn: Share, tenant: Share) {
    this.#lanes = lanes
    this.function = fn
    this.tenant = tenant
    fn.passes++
    tenant.passes++
  }

  /** Undefined when it may enter now; otherwise settles when it may, or when it was closed. `leave` or `close` must follow. */
  enter(isStart = false): Promise<void> | undefined {
    this.entries++
    this.#isStart = isStart
    if (this.#lanes.enter(this, isStart)) {
      this.#state = 'inside'
      return undefined
    }
    this.#state = 'waiting'
    return new Promise((resolve) => {
      this.#granted = resolve
    })
  }

  /** For the lanes: it has a place now. */
  granted(): void {
    this.#state = 'inside'
    this.#granted!()
  }

  /** Back from an entry that took so much. One long entry (garbage, a cold path) makes no costly function of a light one. */
  leave(cpuMs: number): void {
    if (this.#state !== 'inside') return
    this.#state = 'outside'
    const share = this.function
    // What evaluating a bundle takes says nothing about its events.
    if (!this.#isStart) share.meanMs = share.meanMs < 0 ? cpuMs : share.meanMs * 0.8 + cpuMs * 0.2
    this.#lanes.left(this, cpuMs)
  }

  /** The isolate is gone, wherever it was. An entry that was cut short would have taken more. Idempotent. */
  close(cpuMs: number): void {
    if (this.#state === 'inside') {
      if (!this.#isStart) this.function.meanMs = Math.max(this.function.meanMs, cpuMs)
      this.#lanes.left(this, cpuMs)
    } else if (this.#state === 'waiting') {
      this.#lanes.withdrawn(this)
      this.#granted!()
    }
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.function.passes--
    this.tenant.passes--
  }
}

/** What a function or a tenant has used. */
interface Share {
  /** Running mean of an entry's CPU time, ms; -1 while it is not known. Of a function only. */
  meanMs: number
  /** CPU time of late, ms: half of it is forgotten every HALF_LIFE. */
  usedMs: number
  decayedAt: number
  passes: number
}

interface Lane {
  readonly most: number
  /** An entry that has taken longer while others wait is counted as a costly one. */
  readonly overdueMs: number
  readonly inside: Pass[]
  readonly waiting: Pass[]
  timer: object | undefined
}

type LaneName = 'light' | 'fresh' | 'costly'

/** Up to here an entry is light, ms of CPU time. Above what a batch of a busy light function is made to take (`BATCH_MS` in host/meter.ts). */
export const LIGHT_MS = 6
/** How many overdue entries there may be beyond the bound of the costly lane. */
const OVERFLOW = 2
const HALF_LIFE = 2_000
/** Functions and tenants without an isolate that are remembered. */
const REMEMBERED = 10_000

function createLane(most: number, overdueMs: number): Lane {
  return { most, overdueMs, inside: [], waiting: [], timer: undefined }
}

function decay(share: Share, now: number): void {
  const passed = now - share.decayedAt
  if (passed < HALF_LIFE / 50) return
  share.usedMs *= 2 ** (-passed / HALF_LIFE)
  share.decayedAt = now
}

function isBefore(one: Pass, other: Pass): boolean {
  if (one.tenant !== other.tenant) return one.tenant.usedMs < other.tenant.usedMs
  return one.function.usedMs < other.function.usedMs
}

function remove(passes: Pass[], pass: Pass): void {
  const at = passes.indexOf(pass)
  if (at >= 0) passes.splice(at, 1)
}
