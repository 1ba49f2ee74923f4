import {
  arrayBufferByteLength,
  arrayBufferDetached,
  arrayBufferSlice,
  arrayPush,
  arrayPushPair,
  dataViewBuffer,
  dataViewByteLength,
  dataViewByteOffset,
  defineData,
  hasOwn,
  isArrayBuffer,
  mapForEach,
  mapGet,
  mapSet,
  objectGetOwnPropertyDescriptor,
  objectKeys,
  setAdd,
  setForEach,
  setHas,
  typedArrayBuffer,
  typedArrayByteOffset,
  typedArrayLength,
  typedArrayTag,
} from './primordials.ts'
import { bigIntValue, booleanValue, dateValue, kindOf, numberValue, regExpFlags, regExpSource, stringValue } from './brand.ts'
import { transferBuffer } from './buffers.ts'
import { DOMException, cloneDOMException } from './dom-exception.ts'
import { requireArguments, toDictionary, toDOMString } from './webidl.ts'

const MapConstructor = Map
const SetConstructor = Set
const DateConstructor = Date
const RegExpConstructor = RegExp
const ViewConstructor = DataView
const ArrayConstructor = Array
const ObjectConstructor = Object
type Construct = new (buffer: ArrayBuffer, offset: number, length: number) => object
const TYPED_ARRAYS = {
  __proto__: null,
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
} as unknown as Record<string, Construct>
const ERRORS = {
  __proto__: null,
  Error,
  EvalError,
  RangeError,
  ReferenceError,
  SyntaxError,
  TypeError,
  URIError,
} as unknown as Record<string, new (message?: string) => Error>

/** What has been copied, and to what; a buffer that is to move stands for itself. */
type Seen = Map<object, object>
type MovedView = { view: object; create: Construct; buffer: ArrayBuffer; offset: number; length: number }

/** A copy by the structured clone algorithm. The buffers in `options.transfer` are moved: they are empty afterwards. */
export function structuredClone(value: unknown, options?: unknown): unknown {
  requireArguments(arguments.length, 1, 'structuredClone')
  const { transfer } = toDictionary(options, 'structuredClone options')
  const seen: Seen = new MapConstructor()
  if (transfer === undefined) return copy(value, seen, null)

  const buffers: ArrayBuffer[] = []
  const listed = new SetConstructor<object>()
  for (const item of transfer as Iterable<unknown>) {
    if (!isArrayBuffer(item) || setHas(listed, item) || arrayBufferDetached(item)) throw refused('a value in the transfer list')
    setAdd(listed, item)
    arrayPush(buffers, item)
    mapSet(seen, item, item)
  }
  // Nothing may have moved if something turns out not to be cloneable, and a view loses its place once its buffer has moved. So
  // the copy is made twice: with the old buffers in it, and of that (plain data by then) with the new ones.
  const views: MovedView[] = []
  const draft = copy(value, seen, views)
  const final: Seen = new MapConstructor()
  for (let i = 0; i < buffers.length; i++) mapSet(final, buffers[i]!, transferBuffer(buffers[i]!))
  for (let i = 0; i < views.length; i++) {
    const { view, create, buffer, offset, length } = views[i]!
    mapSet(final, view, new create(mapGet(final, buffer) as ArrayBuffer, offset, length))
  }
  return copy(draft, final, null)
}

function refused(what: string): DOMException {
  return new DOMException(`${what} could not be cloned.`, 'DataCloneError')
}

function copy(value: unknown, seen: Seen, moved: MovedView[] | null): unknown {
  if (typeof value === 'symbol') throw refused('A symbol')
  if (typeof value === 'function') throw refused('A function')
  if (typeof value !== 'object' || value === null) return value
  const known = mapGet(seen, value)
  if (known !== undefined) return known
  const kind = kindOf(value)
  switch (kind) {
    case 'Object':
      return copyProperties(value, remember(seen, value, {}), seen, moved)
    case 'Array':
      return copyProperties(value, remember(seen, value, new ArrayConstructor((value as unknown[]).length)), seen, moved)
    case 'Map':
      return copyMap(value as Map<unknown, unknown>, remember(seen, value, new MapConstructor()), seen, moved)
    case 'Set':
      return copySet(value as Set<unknown>, remember(seen, value, new SetConstructor()), seen, moved)
    case 'Date':
      return remember(seen, value, new DateConstructor(dateValue(value)))
    case 'RegExp':
      return remember(seen, value, new RegExpConstructor(regExpSource(value), regExpFlags(value)))
    case 'Error':
      return copyError(value as Error, seen, moved)
    case 'DOMException':
      return remember(seen, value, cloneDOMException(value as DOMException))
    case 'ArrayBuffer':
      return copyBuffer(value as ArrayBuffer, seen)
    case 'TypedArray':
      return copyTypedArray(value, seen, moved)
    case 'DataView':
      return copyView(
        value,
        ViewConstructor,
        dataViewBuffer(value),
        dataViewByteOffset(value),
        dataViewByteLength(value),
        seen,
        moved,
      )
    case 'Boolean':
      return remember(seen, value, ObjectConstructor(booleanValue(value)) as object)
    case 'Number':
      return remember(seen, value, ObjectConstructor(numberValue(value)) as object)
    case 'String':
      return remember(seen, value, ObjectConstructor(stringValue(value)) as object)
    case 'BigInt':
      return remember(seen, value, ObjectConstructor(bigIntValue(value)) as object)
    default:
      throw refused(kind === 'Platform' ? 'An object of the platform' : `A ${kind}`)
  }
}

function remember<T extends object>(seen: Seen, from: object, to: T): T {
  mapSet(seen, from, to)
  return to
}

function copyProperties<T extends object>(from: object, to: T, seen: Seen, moved: MovedView[] | null): T {
  const keys = objectKeys(from)
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i]!
    // A getter before it may have removed it.
    if (hasOwn(from, key)) defineData(to, key, copy((from as Record<string, unknown>)[key], seen, moved), true)
  }
  return to
}

function copyMap(from: Map<unknown, unknown>, to: Map<unknown, unknown>, seen: Seen, moved: MovedView[] | null): object {
  // Listed first: copying runs getters, which may change the map.
  const entries: unknown[] = []
  mapForEach(from, (value, key) => arrayPushPair(entries, key, value))
  for (let i = 0; i < entries.length; i += 2) {
    const key = copy(entries[i], seen, moved)
    mapSet(to, key, copy(entries[i + 1], seen, moved))
  }
  return to
}

function copySet(from: Set<unknown>, to: Set<unknown>, seen: Seen, moved: MovedView[] | null): object {
  const values: unknown[] = []
  setForEach(from, (value) => void arrayPush(values, value))
  for (let i = 0; i < values.length; i++) setAdd(to, copy(values[i], seen, moved))
  return to
}

function ownValue(from: object, key: string): { value: unknown } | null {
  const descriptor = objectGetOwnPropertyDescriptor(from, key)
  return descriptor !== undefined && hasOwn(descriptor, 'value') ? { value: descriptor.value } : null
}

function copyError(from: Error, seen: Seen, moved: MovedView[] | null): object {
  const name: unknown = from.name
  const Constructor = ERRORS[name === undefined ? 'Error' : toDOMString(name)] ?? ERRORS.Error!
  const message = ownValue(from, 'message')
  const to = remember(seen, from, message === null ? new Constructor() : new Constructor(toDOMString(message.value)))
  const stack: unknown = from.stack
  defineData(to, 'stack', typeof stack === 'string' ? stack : '', false)
  const cause = ownValue(from, 'cause')
  if (cause !== null) defineData(to, 'cause', copy(cause.value, seen, moved), false)
  return to
}

function copyBuffer(from: ArrayBuffer, seen: Seen): ArrayBuffer {
  if (arrayBufferDetached(from)) throw refused('A detached ArrayBuffer')
  return remember(seen, from, arrayBufferSlice(from, 0, arrayBufferByteLength(from)))
}

function copyTypedArray(from: object, seen: Seen, moved: MovedView[] | null): object {
  const create = TYPED_ARRAYS[typedArrayTag(from)!]
  if (create === undefined) throw refused('An array of this type')
  return copyView(from, create, typedArrayBuffer(from), typedArrayByteOffset(from), typedArrayLength(from), seen, moved)
}

/** Views of one buffer stay views of one buffer. */
function copyView(
  from: object,
  create: Construct,
  buffer: ArrayBuffer,
  offset: number,
  length: number,
  seen: Seen,
  moved: MovedView[] | null,
): object {
  if (!isArrayBuffer(buffer)) throw refused('A view of shared memory')
  const target = (mapGet(seen, buffer) as ArrayBuffer | undefined) ?? copyBuffer(buffer, seen)
  const view = remember(seen, from, new create(target, offset, length))
  if (moved !== null && target === buffer) arrayPush(moved, { view, create, buffer, offset, length })
  return view
}
