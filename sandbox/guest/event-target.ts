import { arrayPush, arraySlice, arrayRemove, objectDefineProperty, reflectApply } from './primordials.ts'
import { defineConstants, defineInterface, requireArguments, toDictionary, toDOMString } from './webidl.ts'
import { DOMException } from './dom-exception.ts'

export type Callback = ((event: Event) => unknown) | { handleEvent(event: Event): unknown }

const NONE: never[] = []

interface Listener {
  type: string
  /** A function or an object with `handleEvent`; for an `on…` attribute, its current value. */
  callback: unknown
  capture: boolean
  once: boolean
  passive: boolean
  /** Set when it has been removed: a dispatch under way holds a copy of the list. */
  removed: boolean
  /** It is an event handler attribute's (`onabort`). */
  handler: boolean
}

let reporter: (error: unknown) => void = () => {}

/** What becomes of an exception thrown by a listener. */
export function setReporter(report: (error: unknown) => void): void {
  reporter = report
}

let timeOfEvent: () => number = () => 0

/** Where `event.timeStamp` comes from: `performance.now`. */
export function setEventClock(now: () => number): void {
  timeOfEvent = now
}

/** Runs the listeners; false when one called `preventDefault`. Events of the prelude's own are `trusted`. */
export let dispatch: (target: EventTarget, event: Event, trusted: boolean) => boolean
let isTrusted: (event: Event) => boolean
let isDispatching: (event: Event) => boolean
let listenersOf: (target: EventTarget) => Listener[]
let listenersToWrite: (target: EventTarget) => Listener[]
let notify: (target: EventTarget) => void
/** Tells of every change in the number of listeners. */
export let watchListeners: (target: EventTarget, watcher: (listeners: number) => void) => void

const trustedProperty = {
  __proto__: null,
  get(this: Event): boolean {
    return isTrusted(this)
  },
  enumerable: true,
}

export class Event {
  /** An own accessor, as `[LegacyUnforgeable]` asks. */
  declare readonly isTrusted: boolean
  #type: string
  #bubbles = false
  #cancelable = false
  #composed = false
  #trusted = false
  #canceled = false
  #stopPropagation = false
  #stopImmediate = false
  #inPassive = false
  #dispatching = false
  #phase = 0
  #target: EventTarget | null = null
  #currentTarget: EventTarget | null = null
  #timeStamp: number

  constructor(type: string, init?: unknown) {
    requireArguments(arguments.length, 1, 'Event constructor')
    this.#type = toDOMString(type)
    if (init !== undefined && init !== null) {
      const options = toDictionary(init, 'Event options')
      this.#bubbles = !!options.bubbles
      this.#cancelable = !!options.cancelable
      this.#composed = !!options.composed
    }
    this.#timeStamp = timeOfEvent()
    objectDefineProperty(this, 'isTrusted', trustedProperty as PropertyDescriptor)
  }
  get type(): string {
    return this.#type
  }
  get target(): EventTarget | null {
    return this.#target
  }
  get srcElement(): EventTarget | null {
    return this.#target
  }
  get currentTarget(): EventTarget | null {
    return this.#currentTarget
  }
  composedPath(): EventTarget[] {
    return this.#currentTarget === null ? [] : [this.#currentTarget]
  }
  get eventPhase(): number {
    return this.#phase
  }
  stopPropagation(): void {
    this.#stopPropagation = true
  }
  get cancelBubble(): boolean {
    return this.#stopPropagation
  }
  set cancelBubble(value: unknown) {
    if (value) this.#stopPropagation = true
  }
  stopImmediatePropagation(): void {
    this.#stopPropagation = true
    this.#stopImmediate = true
  }
  get bubbles(): boolean {
    return this.#bubbles
  }
  get cancelable(): boolean {
    return this.#cancelable
  }
  get returnValue(): boolean {
    return !this.#canceled
  }
  set returnValue(value: unknown) {
    if (!value) this.preventDefault()
  }
  preventDefault(): void {
    if (this.#cancelable && !this.#inPassive) this.#canceled = true
  }
  get defaultPrevented(): boolean {
    return this.#canceled
  }
  get composed(): boolean {
    return this.#composed
  }
  get timeStamp(): number {
    return this.#timeStamp
  }
  initEvent(type: string, bubbles: unknown = false, cancelable: unknown = false): void {
    requireArguments(arguments.length, 1, 'Event.initEvent')
    const text = toDOMString(type)
    if (this.#dispatching) return
    this.#type = text
    this.#bubbles = !!bubbles
    this.#cancelable = !!cancelable
    this.#trusted = this.#canceled = this.#stopPropagation = this.#stopImmediate = false
    this.#target = null
  }

  static {
    isTrusted = (event) => event.#trusted
    dispatch = (target, event, trusted) => {
      event.#trusted = trusted
      event.#dispatching = true
      event.#target = target
      event.#phase = 2
      const listeners = listenersOf(target)
      if (listeners.length > 0) {
        event.#currentTarget = target
        const copy = arraySlice(listeners)
        for (let phase = 0; phase < 2 && !event.#stopPropagation; phase++) {
          for (let i = 0; i < copy.length && !event.#stopImmediate; i++) {
            const listener = copy[i]!
            if (listener.removed || listener.type !== event.#type || listener.capture !== (phase === 0)) continue
            if (listener.once) removeListener(target, listener)
            event.#inPassive = listener.passive
            run(target, event, listener)
            event.#inPassive = false
          }
        }
        event.#currentTarget = null
      }
      event.#phase = 0
      event.#dispatching = event.#stopPropagation = event.#stopImmediate = false
      return !event.#canceled
    }
    isDispatching = (event) => event.#dispatching
  }
}

defineInterface(Event)
defineConstants(Event, { NONE: 0, CAPTURING_PHASE: 1, AT_TARGET: 2, BUBBLING_PHASE: 3 })

function run(target: EventTarget, event: Event, listener: Listener): void {
  const callback = listener.callback
  try {
    if (typeof callback === 'function') {
      const result: unknown = reflectApply(callback as () => unknown, target, [event])
      if (listener.handler && result === false) event.preventDefault()
      return
    }
    const handle = (callback as { handleEvent?: unknown }).handleEvent
    if (typeof handle !== 'function') throw new TypeError('handleEvent is not a function')
    reflectApply(handle as () => unknown, callback, [event])
  } catch (error) {
    reporter(error)
  }
}

function removeListener(target: EventTarget, listener: Listener): void {
  const list = listenersOf(target)
  listener.removed = true
  for (let i = 0; i < list.length; i++) {
    if (list[i] !== listener) continue
    arrayRemove(list, i, 1)
    notify(target)
    return
  }
}

function find(target: EventTarget, type: string, callback: unknown, capture: boolean): Listener | null {
  const list = listenersOf(target)
  for (let i = 0; i < list.length; i++) {
    const listener = list[i]!
    if (listener.type === type && listener.callback === callback && listener.capture === capture && !listener.handler)
      return listener
  }
  return null
}

/** An abort signal's hook; abort.ts sets it, because a signal is itself an event target. */
let onAbort: (signal: object, run: () => void) => void = () => {}
let isSignal: (value: unknown) => value is { readonly aborted: boolean }
export function setSignalHooks(test: typeof isSignal, add: typeof onAbort): void {
  isSignal = test
  onAbort = add
}

export class EventTarget {
  /** No list until there is a listener: every request has a signal, and few have listeners. */
  #listeners: Listener[] | null = null
  #watcher: ((listeners: number) => void) | null = null

  addEventListener(type: string, callback: Callback | null, options?: unknown): void {
    requireArguments(arguments.length, 2, 'EventTarget.addEventListener')
    const name = toDOMString(type)
    checkCallback(callback)
    const given = toOptions(options)
    const capture = given === null ? !!options : !!given.capture
    const once = given !== null && !!given.once
    const passive = given !== null && !!given.passive
    const signal = given === null ? undefined : given.signal
    if (signal !== undefined && !isSignal(signal)) throw new TypeError('The signal option is not an AbortSignal.')
    if (callback === null || (signal !== undefined && signal.aborted)) return
    if (find(this, name, callback, capture) !== null) return
    const listener: Listener = { type: name, callback, capture, once, passive, removed: false, handler: false }
    arrayPush(listenersToWrite(this), listener)
    notify(this)
    if (signal !== undefined) onAbort(signal, () => removeListener(this, listener))
  }

  removeEventListener(type: string, callback: Callback | null, options?: unknown): void {
    requireArguments(arguments.length, 2, 'EventTarget.removeEventListener')
    const name = toDOMString(type)
    checkCallback(callback)
    const given = toOptions(options)
    const listener = find(this, name, callback, given === null ? !!options : !!given.capture)
    if (listener !== null) removeListener(this, listener)
  }

  dispatchEvent(event: Event): boolean {
    requireArguments(arguments.length, 1, 'EventTarget.dispatchEvent')
    // Reading a private field of anything but an event throws the TypeError that is due.
    if (isDispatching(event)) throw new DOMException('The event is already being dispatched', 'InvalidStateError')
    return dispatch(this, event, false)
  }

  static {
    listenersOf = (target) => target.#listeners ?? NONE
    listenersToWrite = (target) => (target.#listeners ??= [])
    notify = (target) => target.#watcher?.(target.#listeners === null ? 0 : target.#listeners.length)
    watchListeners = (target, watcher) => {
      target.#watcher = watcher
    }
  }
}

defineInterface(EventTarget)

function checkCallback(callback: unknown): void {
  if (callback !== null && typeof callback !== 'function' && typeof callback !== 'object') {
    throw new TypeError('The callback is neither a function nor an object.')
  }
}

function toOptions(options: unknown): Record<string, unknown> | null {
  return (typeof options === 'object' && options !== null) || typeof options === 'function'
    ? (options as Record<string, unknown>)
    : null
}

/** Whether a dispatch of this type would call anybody. */
export function hasListener(target: EventTarget, type: string): boolean {
  const list = listenersOf(target)
  for (let i = 0; i < list.length; i++) if (list[i]!.type === type) return true
  return false
}

/** The value of an event handler attribute (`onabort`). */
export function getEventHandler(target: EventTarget, type: string): unknown {
  return findHandler(target, type)?.callback ?? null
}

export function setEventHandler(target: EventTarget, type: string, value: unknown): void {
  const listener = findHandler(target, type)
  const callback = typeof value === 'function' ? value : null
  if (listener !== null && callback !== null) {
    listener.callback = callback
  } else if (listener !== null) {
    removeListener(target, listener)
  } else if (callback !== null) {
    arrayPush(listenersToWrite(target), {
      type,
      callback,
      capture: false,
      once: false,
      passive: false,
      removed: false,
      handler: true,
    })
    notify(target)
  }
}

function findHandler(target: EventTarget, type: string): Listener | null {
  const list = listenersOf(target)
  for (let i = 0; i < list.length; i++) {
    const listener = list[i]!
    if (listener.handler && listener.type === type) return listener
  }
  return null
}
