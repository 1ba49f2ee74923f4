import { arrayPush, arrayRemove, uncurryThis, setAdd, setDelete } from './primordials.ts'
import { DOMException } from './dom-exception.ts'
import {
  Event,
  EventTarget,
  dispatch,
  getEventHandler,
  hasListener,
  setEventHandler,
  setSignalHooks,
  watchListeners,
} from './event-target.ts'
import { defineInterface, illegalConstructor, requireArguments, toEnforcedInteger } from './webidl.ts'

const WeakReference = WeakRef
const deref = uncurryThis(WeakRef.prototype.deref as (this: WeakRef<AbortSignal>) => AbortSignal | undefined)
const SetConstructor = Set

let startTimer: (run: () => void, delay: number) => void = () => {
  throw new DOMException('There are no timers here', 'NotSupportedError')
}

/** What `AbortSignal.timeout` waits with. */
export function setAbortTimer(start: (run: () => void, delay: number) => void): void {
  startTimer = start
}

const NONE: never[] = []
const permit = {}

/** A signal that only `signalAbort` aborts. */
export function createSignal(): AbortSignal {
  return new AbortSignal(permit)
}
/** Aborts a signal, once: its algorithms, then its listeners, then the signals that depend on it. */
export let signalAbort: (signal: AbortSignal, reason?: unknown) => void
/** Runs at abort, before listeners; never if the signal has aborted already. */
export let addAbortAlgorithm: (signal: AbortSignal, run: () => void) => void
export let removeAbortAlgorithm: (signal: AbortSignal, run: () => void) => void
export let isAbortSignal: (value: unknown) => value is AbortSignal
export let isAborted: (signal: AbortSignal) => boolean
export let abortReason: (signal: AbortSignal) => unknown
/** A signal that aborts as soon as one of these does: `AbortSignal.any`. */
export let anySignal: (signals: AbortSignal[]) => AbortSignal

export class AbortSignal extends EventTarget {
  #aborted = false
  #reason: unknown = undefined
  #algorithms: (() => void)[] | null = null
  /** For a dependent signal: the signals that are not themselves dependent. */
  #sources: AbortSignal[] | null = null
  /** Weak: a signal that lives as long as the isolate must not keep one dependent signal per request. */
  #dependents: WeakRef<AbortSignal>[] | null = null
  /** Dependents that somebody listens to: they are wanted even when nothing else refers to them. */
  #awaited: Set<AbortSignal> | null = null

  constructor(key?: unknown) {
    if (key !== permit) throw illegalConstructor()
    super()
  }
  static abort(reason?: unknown): AbortSignal {
    const signal = new AbortSignal(permit)
    signal.#aborted = true
    signal.#reason = reason === undefined ? new DOMException('This operation was aborted', 'AbortError') : reason
    return signal
  }
  static timeout(milliseconds: number): AbortSignal {
    requireArguments(arguments.length, 1, 'AbortSignal.timeout')
    const delay = toEnforcedInteger(milliseconds, 'milliseconds')
    const signal = new AbortSignal(permit)
    startTimer(() => signalAbort(signal, new DOMException('The operation timed out', 'TimeoutError')), delay)
    return signal
  }
  static any(signals: Iterable<AbortSignal>): AbortSignal {
    requireArguments(arguments.length, 1, 'AbortSignal.any')
    if (typeof signals !== 'object' || signals === null) throw new TypeError('AbortSignal.any: the argument is not iterable.')
    const list: AbortSignal[] = []
    for (const signal of signals) {
      if (!isAbortSignal(signal)) throw new TypeError('AbortSignal.any: not an AbortSignal.')
      arrayPush(list, signal)
    }
    return anySignal(list)
  }
  get aborted(): boolean {
    return this.#aborted
  }
  get reason(): unknown {
    return this.#reason
  }
  throwIfAborted(): void {
    if (this.#aborted) throw this.#reason
  }
  get onabort(): unknown {
    return getEventHandler(this, 'abort')
  }
  set onabort(value: unknown) {
    setEventHandler(this, 'abort', value)
  }

  #settle(reason: unknown): void {
    this.#aborted = true
    this.#reason = reason
  }
  #run(): void {
    const algorithms: (() => void)[] = this.#algorithms ?? NONE
    this.#algorithms = null
    for (let i = 0; i < algorithms.length; i++) algorithms[i]!()
    if (hasListener(this, 'abort')) dispatch(this, new Event('abort'), true)
  }
  #dependOn(source: AbortSignal): void {
    const sources = (this.#sources ??= [])
    for (let i = 0; i < sources.length; i++) if (sources[i] === source) return
    arrayPush(sources, source)
    const dependents = (source.#dependents ??= [])
    for (let i = dependents.length - 1; i >= 0 && i > dependents.length - 3; i--) {
      if (deref(dependents[i]!) === undefined) arrayRemove(dependents, i, 1)
    }
    if (dependents.length > 63 && (dependents.length & 63) === 0) sweep(dependents)
    arrayPush(dependents, new WeakReference(this))
  }
  #awaitedBySources(awaited: boolean): void {
    const sources: AbortSignal[] = this.#sources ?? NONE
    for (let i = 0; i < sources.length; i++) {
      const source = sources[i]!
      if (awaited) setAdd((source.#awaited ??= new SetConstructor()), this)
      else if (source.#awaited !== null) setDelete(source.#awaited, this)
    }
  }

  static {
    isAbortSignal = (value): value is AbortSignal => typeof value === 'object' && value !== null && #aborted in value
    isAborted = (signal) => signal.#aborted
    abortReason = (signal) => signal.#reason
    signalAbort = (signal, reason) => {
      if (signal.#aborted) return
      signal.#settle(reason === undefined ? new DOMException('This operation was aborted', 'AbortError') : reason)
      const dependents: AbortSignal[] = []
      const weak: WeakRef<AbortSignal>[] = signal.#dependents ?? NONE
      for (let i = 0; i < weak.length; i++) {
        const dependent = deref(weak[i]!)
        if (dependent === undefined || dependent.#aborted) continue
        dependent.#settle(signal.#reason)
        arrayPush(dependents, dependent)
      }
      signal.#dependents = null
      signal.#awaited = null
      signal.#run()
      for (let i = 0; i < dependents.length; i++) {
        dependents[i]!.#awaitedBySources(false)
        dependents[i]!.#run()
      }
    }
    addAbortAlgorithm = (signal, run) => {
      if (signal.#aborted) return
      arrayPush((signal.#algorithms ??= []), run)
      signal.#awaitedBySources(true)
    }
    removeAbortAlgorithm = (signal, run) => {
      const list: (() => void)[] = signal.#algorithms ?? NONE
      for (let i = 0; i < list.length; i++) {
        if (list[i] !== run) continue
        arrayRemove(list, i, 1)
        if (list.length === 0 && !hasListener(signal, 'abort')) signal.#awaitedBySources(false)
        return
      }
    }
    anySignal = (signals) => {
      const result = new AbortSignal(permit)
      for (let i = 0; i < signals.length; i++) {
        if (!signals[i]!.#aborted) continue
        result.#settle(signals[i]!.#reason)
        return result
      }
      for (let i = 0; i < signals.length; i++) {
        const signal = signals[i]!
        const sources = signal.#sources
        if (sources === null) result.#dependOn(signal)
        else for (let k = 0; k < sources.length; k++) result.#dependOn(sources[k]!)
      }
      // A dependent signal of no sources never aborts, and whoever depends on it must not wait for it.
      result.#sources ??= []
      watchListeners(result, (listeners) => {
        if (!result.#aborted)
          result.#awaitedBySources(listeners > 0 || (result.#algorithms !== null && result.#algorithms.length > 0))
      })
      return result
    }
  }
}

function sweep(list: WeakRef<AbortSignal>[]): void {
  let kept = 0
  for (let i = 0; i < list.length; i++) if (deref(list[i]!) !== undefined) list[kept++] = list[i]!
  list.length = kept
}

defineInterface(AbortSignal)
setSignalHooks(isAbortSignal, (signal, run) => addAbortAlgorithm(signal as AbortSignal, run))

export class AbortController {
  /** Made when it is first asked for: every writable stream has a controller, and few are asked. */
  #signal: AbortSignal | null = null
  get signal(): AbortSignal {
    return (this.#signal ??= new AbortSignal(permit))
  }
  abort(reason?: unknown): void {
    signalAbort((this.#signal ??= new AbortSignal(permit)), reason)
  }
}
defineInterface(AbortController)
