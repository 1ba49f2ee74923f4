import {
  arrayBufferByteLength,
  getter,
  isArray,
  isArrayBufferView,
  mapGet,
  mapSet,
  mapSize,
  objectGetPrototypeOf,
  setHas,
  setSize,
  typedArrayTag,
  uncurryThis,
} from './primordials.ts'
import { isDOMException } from './dom-exception.ts'
import { platformPrototypes } from './webidl.ts'

export type Kind =
  | 'Object'
  | 'Array'
  | 'Map'
  | 'Set'
  | 'Date'
  | 'RegExp'
  | 'Error'
  | 'DOMException'
  | 'ArrayBuffer'
  | 'TypedArray'
  | 'DataView'
  | 'Boolean'
  | 'Number'
  | 'String'
  | 'BigInt'
  | 'Symbol'
  | 'Promise'
  | 'WeakMap'
  | 'WeakSet'
  | 'WeakRef'
  | 'FinalizationRegistry'
  | 'Platform'

type Unboxed = (self: unknown) => unknown
export const dateValue = uncurryThis(Date.prototype.getTime as (this: unknown) => number)
export const booleanValue = uncurryThis(Boolean.prototype.valueOf as (this: unknown) => boolean)
export const numberValue = uncurryThis(Number.prototype.valueOf as (this: unknown) => number)
export const stringValue = uncurryThis(String.prototype.valueOf as (this: unknown) => string)
export const bigIntValue = uncurryThis(BigInt.prototype.valueOf as (this: unknown) => bigint)
export const symbolValue = uncurryThis(Symbol.prototype.valueOf as (this: unknown) => symbol)
export const regExpSource: (self: unknown) => string = getter(RegExp.prototype, 'source')

const flagGetters: [string, (self: unknown) => boolean][] = []
for (const [letter, name] of Object.entries({
  d: 'hasIndices',
  g: 'global',
  i: 'ignoreCase',
  m: 'multiline',
  s: 'dotAll',
  u: 'unicode',
  v: 'unicodeSets',
  y: 'sticky',
})) {
  flagGetters.push([letter, getter(RegExp.prototype, name)])
}

/** The accessor `flags` would read properties, which may be the tenant's own. */
export function regExpFlags(value: unknown): string {
  let flags = ''
  for (let i = 0; i < flagGetters.length; i++) if (flagGetters[i]![1](value)) flags += flagGetters[i]![0]
  return flags
}

const kinds = new Map<object, Kind>()
/** Throw when the object only inherits from the prototype. */
const checks = new Map<Kind, Unboxed>()
function know(prototype: object, kind: Kind, check?: Unboxed): void {
  mapSet(kinds, prototype, kind)
  if (check !== undefined) mapSet(checks, kind, check)
}
know(Object.prototype, 'Object')
know(Map.prototype, 'Map', mapSize)
know(Set.prototype, 'Set', setSize)
know(Date.prototype, 'Date', dateValue)
know(RegExp.prototype, 'RegExp', regExpSource)
know(Error.prototype, 'Error')
know(ArrayBuffer.prototype, 'ArrayBuffer', arrayBufferByteLength)
know(Boolean.prototype, 'Boolean', booleanValue)
know(Number.prototype, 'Number', numberValue)
know(String.prototype, 'String', stringValue)
know(BigInt.prototype, 'BigInt', bigIntValue)
know(Symbol.prototype, 'Symbol', symbolValue)
know(Promise.prototype, 'Promise')
know(WeakMap.prototype, 'WeakMap')
know(WeakSet.prototype, 'WeakSet')
know(WeakRef.prototype, 'WeakRef')
know(FinalizationRegistry.prototype, 'FinalizationRegistry')

/**
 * What an object is, by its prototypes first (trying all brands would throw a dozen errors an object), then by its internal slots
 * where its methods will be called. Runs no code of the tenant's but a proxy's traps.
 */
export function kindOf(value: object): Kind {
  if (isArray(value)) return 'Array'
  if (isArrayBufferView(value)) return typedArrayTag(value) === undefined ? 'DataView' : 'TypedArray'
  if (isDOMException(value)) return 'DOMException'
  let prototype = objectGetPrototypeOf(value) as object | null
  for (let depth = 0; prototype !== null && depth < 1000; depth++) {
    const kind = setHas(platformPrototypes, prototype) ? 'Platform' : mapGet(kinds, prototype)
    if (kind !== undefined) return passes(value, kind) ? kind : 'Object'
    prototype = objectGetPrototypeOf(prototype) as object | null
  }
  return 'Object'
}

function passes(value: object, kind: Kind): boolean {
  const check = mapGet(checks, kind)
  if (check === undefined) return true
  try {
    check(value)
    return true
  } catch {
    return false
  }
}
