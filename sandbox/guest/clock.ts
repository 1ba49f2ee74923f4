import {
  mathFloor,
  objectDefineProperty,
  objectGetOwnPropertyDescriptor,
  reflectApply,
  reflectConstruct,
  uncurryThis,
} from './primordials.ts'
import { removeSharedBuffers } from './buffers.ts'
import { EventTarget } from './event-target.ts'
import { defineInterface, illegalConstructor } from './webidl.ts'

/*
 * Timing attacks on caches and on the processor's speculation need a clock that runs while the code does. So every way to
 * read one gives the time at which the current dispatch began, in whole milliseconds, and there is none that gives more.
 */

const permit = {}
const NO_NAME = { __proto__: null, value: '', configurable: true } as PropertyDescriptor
const ONE = { __proto__: null, value: 1, configurable: true } as PropertyDescriptor
let now = 0
let origin = -1
let elapsed = 0

export class Performance extends EventTarget {
  constructor(key?: unknown) {
    if (key !== permit) throw illegalConstructor()
    super()
  }
  /** Private methods, so that another `this` is refused. */
  #elapsed(): number {
    return elapsed
  }
  #origin(): number {
    return origin < 0 ? 0 : origin
  }
  now(): number {
    return this.#elapsed()
  }
  get timeOrigin(): number {
    return this.#origin()
  }
  toJSON(): { timeOrigin: number } {
    return { timeOrigin: this.timeOrigin }
  }
}
defineInterface(Performance)

export interface Clock {
  /** Milliseconds since 1970; the first call is the isolate's start. `performance.now()` does not go back. */
  setNow(ms: number): void
  performance: Performance
}

/** Once, before tenant code: it replaces `Date` and what else would ask the system for the time. */
export function installClock(global: object): Clock {
  installDate(global)
  installDateTimeFormat()
  removeWaits(global)
  return {
    setNow(ms) {
      now = mathFloor(ms)
      if (origin < 0) origin = now
      if (now - origin > elapsed) elapsed = now - origin
    },
    performance: new Performance(permit),
  }
}

function installDate(global: object): void {
  const Real = Date
  const toText = uncurryThis(Real.prototype.toString)
  function FrozenDate(...parts: unknown[]): unknown {
    if (new.target === undefined) return toText(new Real(now))
    return reflectConstruct(Real, parts.length === 0 ? [now] : parts, new.target)
  }
  const hidden = { enumerable: false, configurable: true, writable: true }
  objectDefineProperty(FrozenDate, 'name', { value: 'Date', configurable: true })
  objectDefineProperty(FrozenDate, 'length', { value: 7, configurable: true })
  objectDefineProperty(FrozenDate, 'prototype', {
    value: Real.prototype,
    writable: false,
    enumerable: false,
    configurable: false,
  })
  // A method, not a function expression: `new Date.now()` is a TypeError.
  const { now: getNow } = {
    now(): number {
      return now
    },
  }
  objectDefineProperty(FrozenDate, 'now', { value: getNow, ...hidden })
  objectDefineProperty(FrozenDate, 'parse', { value: Real.parse, ...hidden })
  objectDefineProperty(FrozenDate, 'UTC', { value: Real.UTC, ...hidden })
  objectDefineProperty(Real.prototype, 'constructor', { value: FrozenDate, ...hidden })
  objectDefineProperty(global, 'Date', { value: FrozenDate, ...hidden })
}

/** Formatting `undefined` formats the present. The real methods are not reachable afterwards. */
function installDateTimeFormat(): void {
  const { prototype } = Intl.DateTimeFormat
  const formatOf = uncurryThis(
    objectGetOwnPropertyDescriptor(prototype, 'format')!.get as (this: unknown) => (date: unknown) => string,
  )
  const toParts = uncurryThis(prototype.formatToParts as unknown as (this: unknown, date: unknown) => unknown)
  const bound = new WeakMap<object, (date?: unknown) => string>()
  const get = uncurryThis(WeakMap.prototype.get as (this: typeof bound, key: object) => ((date?: unknown) => string) | undefined)
  const set = uncurryThis(
    WeakMap.prototype.set as (this: typeof bound, key: object, value: (date?: unknown) => string) => unknown,
  )
  const members = {
    get format(): unknown {
      const format = formatOf(this)
      const known = get(bound, format)
      if (known !== undefined) return known
      // An arrow function has no `prototype`, as the real bound function has none.
      const frozen = (date?: unknown): string => reflectApply(format, undefined, [date === undefined ? now : date]) as string
      objectDefineProperty(frozen, 'name', NO_NAME)
      objectDefineProperty(frozen, 'length', ONE)
      set(bound, format, frozen)
      return frozen
    },
    formatToParts(date: unknown): unknown {
      return toParts(this, date === undefined ? now : date)
    },
  }
  const hidden = { enumerable: false, configurable: true }
  objectDefineProperty(prototype, 'format', { get: objectGetOwnPropertyDescriptor(members, 'format')!.get, ...hidden })
  objectDefineProperty(prototype, 'formatToParts', { value: members.formatToParts, writable: true, ...hidden })
}

/**
 * A thread that counts in shared memory is a clock, and a timed wait is another. V8 installs `SharedArrayBuffer` when a context is
 * made *from* the snapshot, so this is to be called again then.
 */
export function removeWaits(global: object): void {
  removeSharedBuffers(global)
  const scope = global as { Atomics?: { wait?: unknown; waitAsync?: unknown } }
  if (scope.Atomics === undefined) return
  delete scope.Atomics.wait
  delete scope.Atomics.waitAsync
}
