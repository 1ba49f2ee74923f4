/**
 * The intrinsics that the prelude uses, taken before tenant code runs.
 *
 * The tenant can replace or remove any property of any builtin, so prelude code calls no method through a prototype: it
 * calls these. Methods are uncurried: `arrayPush(list, item)` for `list.push(item)`. What syntax looks up by itself is
 * avoided as well: `for…of`, spread and array destructuring (`Symbol.iterator`), `await` on what is not a native promise
 * (`then`), `instanceof` with tenant classes (`Symbol.hasInstance`).
 */

type Method<T, A extends unknown[], R> = (this: T, ...args: A) => R
// oxlint-disable-next-line typescript/no-explicit-any
type Any = any

const { bind, call } = Function.prototype

/** `uncurryThis(f)(self, …args)` is `f.call(self, …args)`, without looking `call` up. */
export const uncurryThis = bind.bind(call as Any) as <T, A extends unknown[], R>(
  method: Method<T, A, R>,
) => (self: T, ...args: A) => R

/** The bound getter of an accessor: `getter(Map.prototype, 'size')(map)`. */
export function getter<R>(prototype: object, key: PropertyKey): (self: unknown) => R {
  return uncurryThis(Object.getOwnPropertyDescriptor(prototype, key)!.get as Method<unknown, [], R>)
}

export const {
  create: objectCreate,
  defineProperty: objectDefineProperty,
  freeze: objectFreeze,
  getOwnPropertyDescriptor: objectGetOwnPropertyDescriptor,
  getOwnPropertyNames: objectGetOwnPropertyNames,
  getPrototypeOf: objectGetPrototypeOf,
  is: objectIs,
  keys: objectKeys,
  setPrototypeOf: objectSetPrototypeOf,
} = Object
export const { apply: reflectApply, construct: reflectConstruct, ownKeys: reflectOwnKeys } = Reflect
/** `Reflect.construct` for what is typed as little as a constructor of the tenant's is. */
export const construct = Reflect.construct as (target: object, given: unknown[], newTarget: object) => object
export const hasOwn: (target: object, key: PropertyKey) => boolean = Object.hasOwn
export const objectToString = uncurryThis(Object.prototype.toString)

export const { isArray } = Array
const ArrayPrototype = Array.prototype
const ObjectPrototype = Object.prototype

/**
 * Appends to an array of the prelude's own. Plain assignment and `push` alike would call a setter for that index on
 * `Array.prototype` or `Object.prototype`, and lose the element to it. Both prototypes are ordinary objects as long as
 * the former's prototype is the latter, which has none and cannot get one: no proxy answers `in` here.
 */
export function arrayPush<T>(list: T[], item: T): number {
  const at = list.length
  if (at in ArrayPrototype || objectGetPrototypeOf(ArrayPrototype) !== ObjectPrototype) defineData(list, at, item, true)
  else list[at] = item
  return at + 1
}

/** Name and value, key and value: lists of pairs are flat. */
export function arrayPushPair<T>(list: T[], first: T, second: T): void {
  arrayPush(list, first)
  arrayPush(list, second)
}

export const arrayPop = uncurryThis(Array.prototype.pop) as <T>(list: T[]) => T | undefined

/** `Array.prototype.slice` and `splice` ask the list's `constructor` what to make; these do not. */
export function arraySlice<T>(list: T[]): T[] {
  const copy: T[] = []
  for (let i = 0; i < list.length; i++) arrayPush(copy, list[i]!)
  return copy
}

/** Takes elements out of a list of the prelude's own. */
export function arrayRemove<T>(list: T[], at: number, count: number): void {
  for (let i = at + count; i < list.length; i++) list[i - count] = list[i]!
  list.length -= count
}

export const arraySort = uncurryThis(Array.prototype.sort) as <T>(list: T[], compare: (a: T, b: T) => number) => T[]
export const arrayJoin = uncurryThis(Array.prototype.join) as (list: unknown[], separator: string) => string

export const { fromCharCode, fromCodePoint } = String
export const charCodeAt = uncurryThis(String.prototype.charCodeAt) as (text: string, index: number) => number
export const codePointAt = uncurryThis(String.prototype.codePointAt) as (text: string, index: number) => number | undefined
export const stringIndexOf = uncurryThis(String.prototype.indexOf) as (text: string, find: string, from?: number) => number
export const stringLastIndexOf = uncurryThis(String.prototype.lastIndexOf) as (
  text: string,
  find: string,
  from?: number,
) => number
export const stringNormalize = uncurryThis(String.prototype.normalize as Any) as (text: string, form: string) => string
export const stringPadStart = uncurryThis(String.prototype.padStart) as (text: string, length: number, fill?: string) => string
export const stringPadEnd = uncurryThis(String.prototype.padEnd) as (text: string, length: number, fill?: string) => string
export const stringRepeat = uncurryThis(String.prototype.repeat) as (text: string, count: number) => string
export const stringSlice = uncurryThis(String.prototype.slice) as (text: string, start: number, end?: number) => string
export const stringStartsWith = uncurryThis(String.prototype.startsWith) as (text: string, find: string, at?: number) => boolean
export const stringEndsWith = uncurryThis(String.prototype.endsWith) as (text: string, find: string) => boolean
export const stringToLowerCase = uncurryThis(String.prototype.toLowerCase) as (text: string) => string
export const stringToUpperCase = uncurryThis(String.prototype.toUpperCase) as (text: string) => string
export const stringToWellFormed = uncurryThis(String.prototype.toWellFormed) as (text: string) => string
export const stringIsWellFormed = uncurryThis(String.prototype.isWellFormed) as (text: string) => boolean
export const numberToString = uncurryThis(Number.prototype.toString) as (value: number, radix?: number) => string

/** Only with a regular expression of the prelude's own without `g` and `y`: `RegExp.prototype.test` would look `exec` up. */
const regExpExec = uncurryThis(RegExp.prototype.exec) as (expression: RegExp, text: string) => RegExpExecArray | null
export { regExpExec }
export const matches = (expression: RegExp, text: string): boolean => regExpExec(expression, text) !== null

export const { floor: mathFloor, trunc: mathTrunc, min: mathMin, max: mathMax, pow: mathPow } = Math
export const { isFinite: numberIsFinite, isNaN: numberIsNaN, isInteger: numberIsInteger } = Number
export const { stringify: jsonStringify, parse: jsonParse } = JSON

const Bytes = Uint8Array
const TypedArray = Object.getPrototypeOf(Uint8Array) as { prototype: Uint8Array }
export const TypedArrayPrototype = TypedArray.prototype
export const typedArrayTag: (self: unknown) => string | undefined = getter(TypedArrayPrototype, Symbol.toStringTag)
export const typedArrayBuffer: (self: unknown) => ArrayBuffer = getter(TypedArrayPrototype, 'buffer')
export const typedArrayByteLength: (self: unknown) => number = getter(TypedArrayPrototype, 'byteLength')
export const typedArrayByteOffset: (self: unknown) => number = getter(TypedArrayPrototype, 'byteOffset')
export const typedArrayLength: (self: unknown) => number = getter(TypedArrayPrototype, 'length')
export const typedArraySet = uncurryThis(TypedArrayPrototype.set) as (
  to: Uint8Array,
  from: ArrayLike<number>,
  at?: number,
) => void
/** A copy of a part. `slice` of a typed array or buffer would ask its `constructor` what to make. */
export function typedArraySlice(from: Uint8Array, start: number, end: number = Infinity): Uint8Array {
  const length = typedArrayLength(from)
  return new Bytes(new Bytes(typedArrayBuffer(from), typedArrayByteOffset(from) + start, (end < length ? end : length) - start))
}
export const typedArrayFill = uncurryThis(TypedArrayPrototype.fill as Any) as (
  to: Uint8Array | Uint32Array,
  value: number,
  start?: number,
  end?: number,
) => void
export const { isView: isArrayBufferView } = ArrayBuffer
export const arrayBufferByteLength: (self: unknown) => number = getter(ArrayBuffer.prototype, 'byteLength')
export const arrayBufferDetached: (self: unknown) => boolean = getter(ArrayBuffer.prototype, 'detached')
/** A copy of a part, of a fixed length. */
export function arrayBufferSlice(from: ArrayBuffer, start: number, end: number): ArrayBuffer {
  return typedArrayBuffer(new Bytes(new Bytes(from, start, end - start)))
}
const transfer = uncurryThis(ArrayBuffer.prototype.transfer) as (self: ArrayBuffer, length: number) => ArrayBuffer
/** Gives a buffer's memory back at once, whoever still holds the buffer. */
export const arrayBufferFree = (buffer: ArrayBuffer): void => void transfer(buffer, 0)
export const dataViewBuffer: (self: unknown) => ArrayBuffer = getter(DataView.prototype, 'buffer')
export const dataViewByteLength: (self: unknown) => number = getter(DataView.prototype, 'byteLength')
export const dataViewByteOffset: (self: unknown) => number = getter(DataView.prototype, 'byteOffset')

export const mapGet = uncurryThis(Map.prototype.get) as <K, V>(map: Map<K, V>, key: K) => V | undefined
export const mapSet = uncurryThis(Map.prototype.set) as <K, V>(map: Map<K, V>, key: K, value: V) => Map<K, V>
export const mapHas = uncurryThis(Map.prototype.has) as <K>(map: Map<K, unknown>, key: K) => boolean
export const mapDelete = uncurryThis(Map.prototype.delete) as <K>(map: Map<K, unknown>, key: K) => boolean
export const mapForEach = uncurryThis(Map.prototype.forEach) as <K, V>(map: Map<K, V>, visit: (value: V, key: K) => void) => void
export const mapSize: (self: unknown) => number = getter(Map.prototype, 'size')
export const setAdd = uncurryThis(Set.prototype.add) as <T>(set: Set<T>, value: T) => Set<T>
export const setHas = uncurryThis(Set.prototype.has) as <T>(set: Set<T>, value: T) => boolean
export const setDelete = uncurryThis(Set.prototype.delete) as <T>(set: Set<T>, value: T) => boolean
export const setForEach = uncurryThis(Set.prototype.forEach) as <T>(set: Set<T>, visit: (value: T) => void) => void
export const setSize: (self: unknown) => number = getter(Set.prototype, 'size')

export const weakMapGet = uncurryThis(WeakMap.prototype.get as Any) as <K extends object, V>(
  map: WeakMap<K, V>,
  key: K,
) => V | undefined
export const weakMapSet = uncurryThis(WeakMap.prototype.set as Any) as <K extends object, V>(
  map: WeakMap<K, V>,
  key: K,
  value: V,
) => WeakMap<K, V>

export const ArrayConstructor = Array
export const PromiseConstructor = Promise
export const promiseResolve = Promise.resolve.bind(Promise) as <T>(value: T) => Promise<Awaited<T>>
export const promiseReject = Promise.reject.bind(Promise) as (reason: unknown) => Promise<never>

/** The bytes under any view or buffer, or null for what is neither. Shares memory; reads nothing that the tenant can replace. */
export function bytesOf(source: unknown): Uint8Array | null {
  if (isArrayBufferView(source)) {
    if (typedArrayTag(source) === 'Uint8Array') return source as Uint8Array
    if (typedArrayTag(source) !== undefined) {
      return new Bytes(typedArrayBuffer(source), typedArrayByteOffset(source), typedArrayByteLength(source))
    }
    return new Bytes(dataViewBuffer(source), dataViewByteOffset(source), dataViewByteLength(source))
  }
  return isArrayBuffer(source) ? new Bytes(source) : null
}

export function isArrayBuffer(value: unknown): value is ArrayBuffer {
  if (typeof value !== 'object' || value === null) return false
  try {
    arrayBufferByteLength(value)
    return true
  } catch {
    return false
  }
}

/** A data property. Its descriptor has no prototype: `Object.prototype.get`, once the tenant has set it, would be part of any other. */
export function defineData(target: object, key: PropertyKey, value: unknown, enumerable: boolean): void {
  objectDefineProperty(target, key, {
    __proto__: null,
    value,
    writable: true,
    enumerable,
    configurable: true,
  } as PropertyDescriptor)
}
