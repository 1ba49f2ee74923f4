import {
  arrayBufferByteLength,
  arrayPop,
  arrayPush,
  charCodeAt,
  hasOwn,
  jsonStringify,
  mapForEach,
  mapGet,
  mapSet,
  mapSize,
  numberToString,
  objectGetOwnPropertyDescriptor,
  objectGetPrototypeOf,
  objectIs,
  reflectApply,
  reflectOwnKeys,
  setForEach,
  setSize,
  stringIndexOf,
  stringSlice,
  stringStartsWith,
  typedArrayLength,
  uncurryThis,
} from './primordials.ts'
import {
  type Kind,
  bigIntValue,
  booleanValue,
  dateValue,
  kindOf,
  numberValue,
  regExpFlags,
  regExpSource,
  stringValue,
  symbolValue,
} from './brand.ts'

const MAX_ITEMS = 100
const MAX_STRING = 10_000
const LINE = 76

const functionToString = uncurryThis(Function.prototype.toString as (this: unknown) => string)
const symbolToString = uncurryThis(Symbol.prototype.toString as (this: symbol) => string)
const toISOString = uncurryThis(Date.prototype.toISOString as (this: unknown) => string)
const IDENTIFIER = /^[A-Za-z_$][A-Za-z0-9_$]*$/
const regExpTest = uncurryThis(RegExp.prototype.exec as (this: RegExp, text: string) => unknown)

export interface InspectOptions {
  /** Levels of objects within objects that are shown. */
  depth?: number
  /** Characters, after which the rest is left out. */
  size?: number
}

interface Work {
  depth: number
  /** Characters that may still be produced. */
  left: number
  /** The objects around the current one. */
  path: object[]
}

const views = new Map<object, (self: object) => unknown>()

/** How objects of a class with hidden state are shown: as the class's name and this value. */
export function inspectAs(constructor: { prototype: object }, view: (self: object) => unknown): void {
  mapSet(views, constructor.prototype, view)
}

/**
 * A value as text for people, as `util.inspect` of Node writes it. It is given hostile values: it calls no getter and no method of
 * theirs, its result is bounded, and what a proxy's traps throw shows up as text.
 */
export function inspect(value: unknown, options: InspectOptions = {}): string {
  const work: Work = { depth: options.depth ?? 4, left: options.size ?? 16_384, path: [] }
  return format(value, 0, work)
}

function format(value: unknown, depth: number, work: Work): string {
  return typeof value === 'object' && value !== null ? formatObject(value, depth, work) : formatPrimitive(value, depth, work)
}

function formatPrimitive(value: unknown, depth: number, work: Work): string {
  switch (typeof value) {
    case 'string':
      return quote(take(value, work))
    case 'number':
      return objectIs(value, -0) ? '-0' : numberToString(value)
    case 'bigint':
      return take(`${value}n`, work)
    case 'symbol':
      return take(symbolToString(value), work)
    case 'function':
      return formatFunction(value, depth, work)
    default:
      return `${value as undefined | null | boolean}`
  }
}

/** As much of a string as may be shown. */
function take(text: string, work: Work): string {
  const most = work.left < MAX_STRING ? work.left : MAX_STRING
  const part = text.length > most ? stringSlice(text, 0, most < 0 ? 0 : most) + '…' : text
  work.left -= part.length
  return part
}

function quote(text: string): string {
  const mark = stringIndexOf(text, "'") < 0 ? "'" : stringIndexOf(text, '"') < 0 ? '"' : stringIndexOf(text, '`') < 0 ? '`' : "'"
  let result = mark
  let done = 0
  for (let i = 0; i < text.length; i++) {
    const unit = charCodeAt(text, i)
    if (unit >= 32 && unit !== 92 && unit !== 127 && text[i] !== mark) continue
    result += stringSlice(text, done, i) + escape(unit, text[i]!)
    done = i + 1
  }
  return result + stringSlice(text, done) + mark
}

function escape(unit: number, character: string): string {
  if (unit === 10) return '\\n'
  if (unit === 9) return '\\t'
  if (unit === 13) return '\\r'
  if (unit < 32 || unit === 127) return '\\x' + (unit < 16 ? '0' : '') + numberToString(unit, 16)
  return '\\' + character
}

/** An own property's value, if it has one without a getter. */
function ownData(target: object, key: PropertyKey): unknown {
  const descriptor = objectGetOwnPropertyDescriptor(target, key)
  return descriptor !== undefined && hasOwn(descriptor, 'value') ? descriptor.value : undefined
}

function constructorName(value: object): string | null {
  let prototype: object | null = value
  for (let i = 0; prototype !== null && i < 100; i++) {
    const constructor = ownData(prototype, 'constructor')
    if (typeof constructor === 'function') {
      const name = ownData(constructor, 'name')
      if (typeof name === 'string' && name !== '') return name.length > 100 ? stringSlice(name, 0, 100) : name
    }
    prototype = objectGetPrototypeOf(prototype) as object | null
  }
  return null
}

function formatFunction(value: object, depth: number, work: Work): string {
  try {
    const name = ownData(value, 'name')
    const label = typeof name === 'string' && name !== '' ? take(name, work) : ''
    const isClass = stringStartsWith(functionToString(value), 'class')
    const kind = isClass ? 'class' : (constructorName(value) ?? 'Function')
    const head = isClass
      ? `[class ${label === '' ? '(anonymous)' : label}]`
      : `[${kind}${label === '' ? ' (anonymous)' : ': ' + label}]`
    const parts =
      depth > work.depth ? [] : properties(value, depth, work, (key) => key === 'prototype' || key === 'name' || key === 'length')
    return parts.length === 0 ? head : join(head + ' {', parts, '}', depth)
  } catch {
    return '[Function]'
  }
}

function formatObject(value: object, depth: number, work: Work): string {
  if (work.left <= 0) return '…'
  for (let i = 0; i < work.path.length; i++) if (work.path[i] === value) return '[Circular]'
  arrayPush(work.path, value)
  try {
    return describe(value, kindOf(value), depth, work)
  } catch {
    return '[object that cannot be shown]'
  } finally {
    arrayPop(work.path)
  }
}

function describe(value: object, kind: Kind, depth: number, work: Work): string {
  if (kind === 'Error' || kind === 'DOMException') return formatError(value, depth, work)
  if (kind === 'Date') {
    const time = dateValue(value)
    return time === time ? toISOString(value) : 'Invalid Date'
  }
  if (kind === 'RegExp') return take('/' + regExpSource(value) + '/' + regExpFlags(value), work)
  const name = constructorName(value)
  const label = name ?? `[${kind}: null prototype]`
  if (depth > work.depth) return take(`[${label}]`, work)
  work.left -= label.length
  switch (kind) {
    case 'Array': {
      const list = value as unknown[]
      const parts = items(list, list.length, depth, work)
      arrayAppend(parts, properties(value, depth, work, isIndex))
      return join(name === 'Array' ? '[' : `${label}(${list.length}) [`, parts, ']', depth)
    }
    case 'TypedArray': {
      const length = typedArrayLength(value)
      return join(`${label}(${length}) [`, items(value as ArrayLike<unknown>, length, depth, work), ']', depth)
    }
    case 'Map':
      return join(`${label}(${mapSize(value)}) {`, entries(value as Map<unknown, unknown>, depth, work), '}', depth)
    case 'Set':
      return join(`${label}(${setSize(value)}) {`, members(value as Set<unknown>, depth, work), '}', depth)
    case 'ArrayBuffer':
      return `${label} { byteLength: ${arrayBufferByteLength(value)} }`
    case 'DataView':
      return `${label} {}`
    case 'Boolean':
      return `[Boolean: ${booleanValue(value)}]`
    case 'Number':
      return `[Number: ${numberValue(value)}]`
    case 'String':
      return `[String: ${quote(take(stringValue(value), work))}]`
    case 'BigInt':
      return `[BigInt: ${bigIntValue(value)}n]`
    case 'Symbol':
      return `[Symbol: ${symbolToString(symbolValue(value))}]`
    case 'Promise':
    case 'WeakMap':
    case 'WeakSet':
    case 'WeakRef':
    case 'FinalizationRegistry':
      return `${label} {}`
    case 'Platform': {
      const view = viewOf(value)
      if (view !== undefined) return `${label} ${format(view(value), depth, work)}`
    }
  }
  const tag = name === 'Object' ? '' : label + ' '
  return join(`${tag}{`, properties(value, depth, work, null), '}', depth)
}

function viewOf(value: object): ((self: object) => unknown) | undefined {
  let prototype = objectGetPrototypeOf(value) as object | null
  for (let i = 0; prototype !== null && i < 100; i++) {
    const view = mapGet(views, prototype)
    if (view !== undefined) return view
    prototype = objectGetPrototypeOf(prototype) as object | null
  }
  return undefined
}

/** V8 keeps the stack behind an accessor of its own; another getter is the tenant's. */
const stackGetter = objectGetOwnPropertyDescriptor(new Error(), 'stack')?.get

function stackOf(error: object): unknown {
  const descriptor = objectGetOwnPropertyDescriptor(error, 'stack')
  if (descriptor === undefined) return undefined
  if (hasOwn(descriptor, 'value')) return descriptor.value
  return stackGetter !== undefined && descriptor.get === stackGetter ? reflectApply(stackGetter, error, NO_ARGUMENTS) : undefined
}
const NO_ARGUMENTS: never[] = []

function formatError(error: object, depth: number, work: Work): string {
  const stack = stackOf(error)
  const message = ownData(error, 'message')
  let text =
    typeof stack === 'string' && stack !== ''
      ? stack
      : `[${constructorName(error) ?? 'Error'}${typeof message === 'string' ? ': ' + message : ''}]`
  text = take(text, work)
  const cause = ownData(error, 'cause')
  const parts = depth > work.depth ? [] : properties(error, depth, work, isErrorPart)
  if (cause !== undefined && depth <= work.depth) arrayPush(parts, `[cause]: ${format(cause, depth + 1, work)}`)
  return parts.length === 0 ? text : join(text + ' {', parts, '}', depth)
}

function isErrorPart(key: string): boolean {
  return key === 'stack' || key === 'message' || key === 'cause'
}

function isIndex(key: string): boolean {
  const unit = charCodeAt(key, 0)
  return unit >= 48 && unit <= 57
}

function arrayAppend(to: string[], from: string[]): void {
  for (let i = 0; i < from.length; i++) arrayPush(to, from[i]!)
}

function items(list: ArrayLike<unknown>, length: number, depth: number, work: Work): string[] {
  const parts: string[] = []
  let holes = 0
  let i = 0
  for (; i < length && i < MAX_ITEMS && work.left > 0; i++) {
    const descriptor = objectGetOwnPropertyDescriptor(list, i)
    if (descriptor === undefined) {
      holes++
      continue
    }
    if (holes > 0) arrayPush(parts, `<${holes} empty items>`)
    holes = 0
    arrayPush(parts, formatProperty(descriptor, depth, work))
  }
  if (i < length) arrayPush(parts, `… ${length - i} more`)
  else if (holes > 0) arrayPush(parts, `<${holes} empty items>`)
  return parts
}

function entries(map: Map<unknown, unknown>, depth: number, work: Work): string[] {
  const parts: string[] = []
  let left = 0
  mapForEach(map, (value, key) => {
    if (parts.length >= MAX_ITEMS || work.left <= 0) left++
    else arrayPush(parts, `${format(key, depth + 1, work)} => ${format(value, depth + 1, work)}`)
  })
  if (left > 0) arrayPush(parts, `… ${left} more`)
  return parts
}

function members(set: Set<unknown>, depth: number, work: Work): string[] {
  const parts: string[] = []
  let left = 0
  setForEach(set, (value) => {
    if (parts.length >= MAX_ITEMS || work.left <= 0) left++
    else arrayPush(parts, format(value, depth + 1, work))
  })
  if (left > 0) arrayPush(parts, `… ${left} more`)
  return parts
}

function formatProperty(descriptor: PropertyDescriptor, depth: number, work: Work): string {
  if (hasOwn(descriptor, 'value')) return format(descriptor.value, depth + 1, work)
  work.left -= 8
  return descriptor.get === undefined ? '[Setter]' : descriptor.set === undefined ? '[Getter]' : '[Getter/Setter]'
}

/** The own enumerable properties. */
function properties(target: object, depth: number, work: Work, skips: ((key: string) => boolean) | null): string[] {
  const parts: string[] = []
  const keys = reflectOwnKeys(target)
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i]!
    if (typeof key === 'string' && skips !== null && skips(key)) continue
    if (parts.length >= MAX_ITEMS || work.left <= 0) {
      arrayPush(parts, `… ${keys.length - i} more`)
      break
    }
    const descriptor = objectGetOwnPropertyDescriptor(target, key)
    if (descriptor === undefined || descriptor.enumerable !== true) continue
    const name = typeof key === 'symbol' ? `[${take(symbolToString(key), work)}]` : formatKey(take(key, work))
    work.left -= 4
    arrayPush(parts, `${name}: ${formatProperty(descriptor, depth, work)}`)
  }
  return parts
}

function formatKey(key: string): string {
  return regExpTest(IDENTIFIER, key) === null ? quote(key) : key
}

/** On one line when it fits, else one part a line. */
function join(open: string, parts: string[], close: string, depth: number): string {
  if (parts.length === 0) return open + close
  let length = open.length + 2 * depth
  let lines = false
  for (let i = 0; i < parts.length; i++) {
    length += parts[i]!.length + 2
    if (stringIndexOf(parts[i]!, '\n') >= 0) lines = true
  }
  lines ||= length > LINE
  let indent = '\n'
  for (let i = 0; i < depth; i++) indent += '  '
  let text = open
  for (let i = 0; i < parts.length; i++) text += (i === 0 ? '' : ',') + (lines ? indent + '  ' : ' ') + parts[i]!
  return text + (lines ? indent : ' ') + close
}

/** For `%j`. */
export function toJson(value: unknown): string {
  try {
    return `${jsonStringify(value)}`
  } catch {
    return '[not JSON]'
  }
}
