import {
  arrayPush,
  arrayPushPair,
  arraySlice,
  arraySort,
  arrayRemove,
  charCodeAt,
  jsonStringify,
  matches,
  objectDefineProperty,
  objectGetOwnPropertyDescriptor,
  reflectApply,
  reflectOwnKeys,
  stringSlice,
  stringToLowerCase,
} from './primordials.ts'
import { defineInterface, requireArguments } from './webidl.ts'

/** 'immutable' refuses changes; 'request' and 'response' differ only in what later rules forbid. */
export type HeadersGuard = 'none' | 'immutable'

export type HeadersInit = Headers | [string, string][] | Record<string, string> | Iterable<[string, string]>

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
// oxlint-disable-next-line no-control-regex
const BAD_VALUE = /[\0\r\n]|[^\0-\xff]/
const INTERNAL = Symbol('skep.headers')

export let fieldsOf: (headers: Headers) => string[]
export let isHeaders: (value: unknown) => value is Headers
export let setGuard: (headers: Headers, guard: HeadersGuard) => void

/** The fields are one flat array [name, value, …], names in lower case, in the order they were added. */
export class Headers {
  #fields: string[]
  #guard: HeadersGuard = 'none'

  static {
    fieldsOf = (headers) => headers.#fields
    isHeaders = (value): value is Headers => typeof value === 'object' && value !== null && #fields in value
    setGuard = (headers, guard) => {
      headers.#guard = guard
    }
  }

  constructor(init?: HeadersInit, _fields?: string[]) {
    // The host's and the prelude's own way in: fields that need no check.
    if ((init as unknown) === INTERNAL) {
      this.#fields = _fields!
      return
    }
    this.#fields = []
    if (init === undefined) return
    if ((typeof init !== 'object' && typeof init !== 'function') || init === null)
      throw new TypeError('Headers: the initial value must be an object or a sequence of pairs')
    fill(this.#fields, init)
  }

  append(name: string, value: string): void {
    requireArguments(arguments.length, 2, 'Headers.append')
    const key = checkName(name)
    const text = checkValue(value)
    this.#writable()
    arrayPushPair(this.#fields, key, text)
  }

  delete(name: string): void {
    requireArguments(arguments.length, 1, 'Headers.delete')
    const key = checkName(name)
    this.#writable()
    const fields = this.#fields
    for (let i = fields.length - 2; i >= 0; i -= 2) if (fields[i] === key) arrayRemove(fields, i, 2)
  }

  get(name: string): string | null {
    requireArguments(arguments.length, 1, 'Headers.get')
    return getField(this.#fields, checkName(name))
  }

  getSetCookie(): string[] {
    const found: string[] = []
    const fields = this.#fields
    for (let i = 0; i < fields.length; i += 2) if (fields[i] === 'set-cookie') arrayPush(found, fields[i + 1]!)
    return found
  }

  has(name: string): boolean {
    requireArguments(arguments.length, 1, 'Headers.has')
    const key = checkName(name)
    const fields = this.#fields
    for (let i = 0; i < fields.length; i += 2) if (fields[i] === key) return true
    return false
  }

  set(name: string, value: string): void {
    requireArguments(arguments.length, 2, 'Headers.set')
    const key = checkName(name)
    const text = checkValue(value)
    this.#writable()
    const fields = this.#fields
    let at = -1
    for (let i = fields.length - 2; i >= 0; i -= 2) {
      if (fields[i] !== key) continue
      if (at >= 0) arrayRemove(fields, at, 2)
      at = i
    }
    if (at < 0) arrayPushPair(fields, key, text)
    else fields[at + 1] = text
  }

  forEach(callback: (value: string, name: string, headers: Headers) => void, receiver?: unknown): void {
    requireArguments(arguments.length, 1, 'Headers.forEach')
    if (typeof callback !== 'function') throw new TypeError('Headers.forEach: the callback is not a function')
    for (let i = 0, pairs = sorted(this.#fields); i < pairs.length; i += 2) {
      reflectApply(callback, receiver, [pairs[i + 1], pairs[i], this])
      pairs = sorted(this.#fields)
    }
  }

  entries(): IterableIterator<[string, string]> {
    return iterate(this.#fields, 'entries')
  }

  keys(): IterableIterator<string> {
    return iterate(this.#fields, 'keys')
  }

  values(): IterableIterator<string> {
    return iterate(this.#fields, 'values')
  }

  declare [Symbol.iterator]: () => IterableIterator<[string, string]>

  #writable(): void {
    if (this.#guard === 'immutable') throw new TypeError('These headers are immutable')
  }
}
defineInterface(Headers)
objectDefineProperty(Headers.prototype, Symbol.iterator, { value: Headers.prototype.entries, writable: true, configurable: true })

/** Headers over fields that are known to be valid. The array is theirs from now on. */
export function headersFrom(fields: string[], guard: HeadersGuard = 'none'): Headers {
  const headers = new Headers(INTERNAL as unknown as HeadersInit, fields)
  if (guard !== 'none') setGuard(headers, guard)
  return headers
}

/** The fields of any initial value, checked: an array of the caller's own. */
export function fieldsFrom(init: HeadersInit | undefined): string[] {
  if (init === undefined) return []
  if (isHeaders(init)) return arraySlice(fieldsOf(init))
  return fieldsOf(new Headers(init))
}

export function getField(fields: string[], name: string): string | null {
  let found: string | null = null
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] === name)
      found = found === null ? fields[i + 1]! : `${found}${name === 'cookie' ? '; ' : ', '}${fields[i + 1]!}`
  }
  return found
}

function fill(fields: string[], init: HeadersInit): void {
  const iterator = (init as { [Symbol.iterator]?: unknown })[Symbol.iterator]
  if (iterator !== undefined && iterator !== null) {
    if (typeof iterator !== 'function') throw new TypeError('Headers: the initial value is not iterable')
    const pairs: string[][] = []
    for (const item of init as Iterable<Iterable<string>>) {
      if ((typeof item !== 'object' && typeof item !== 'function') || item === null)
        throw new TypeError('Headers: each pair must be a sequence')
      const pair: string[] = []
      for (const part of item) arrayPush(pair, part)
      if (pair.length !== 2) throw new TypeError('Headers: each pair must have a name and a value')
      arrayPush(pairs, pair)
    }
    for (let i = 0; i < pairs.length; i++) arrayPushPair(fields, checkName(pairs[i]![0]!), checkValue(pairs[i]![1]!))
    return
  }
  const names = reflectOwnKeys(init)
  for (let i = 0; i < names.length; i++) {
    const name = names[i]!
    const property = objectGetOwnPropertyDescriptor(init, name)
    if (property === undefined || !property.enumerable) continue
    if (typeof name === 'symbol') throw new TypeError('Headers: a name is a symbol')
    arrayPushPair(fields, checkName(name), checkValue((init as Record<string, string>)[name]!))
  }
}

function checkName(name: string): string {
  const text = `${name}`
  if (!matches(TOKEN, text)) throw new TypeError(`Invalid header name: ${quote(text)}`)
  return stringToLowerCase(text)
}

function checkValue(value: string): string {
  let text = `${value}`
  let start = 0
  let end = text.length
  while (start < end && isSpace(charCodeAt(text, start))) start++
  while (end > start && isSpace(charCodeAt(text, end - 1))) end--
  if (start > 0 || end < text.length) text = stringSlice(text, start, end)
  if (matches(BAD_VALUE, text)) throw new TypeError(`Invalid header value: ${quote(text)}`)
  return text
}

function isSpace(code: number): boolean {
  return code === 32 || code === 9 || code === 10 || code === 13
}

function quote(text: string): string {
  return jsonStringify(stringSlice(text, 0, 100))
}

/** Sorted by name, values of one name joined; `set-cookie` stays apart, as the Fetch standard says. */
function sorted(fields: string[]): string[] {
  const names: string[] = []
  for (let i = 0; i < fields.length; i += 2) {
    let known = false
    for (let j = 0; j < names.length && !known; j++) known = names[j] === fields[i]
    if (!known) arrayPush(names, fields[i]!)
  }
  arraySort(names, (a, b) => (a < b ? -1 : 1))
  const pairs: string[] = []
  for (let j = 0; j < names.length; j++) {
    const name = names[j]!
    if (name !== 'set-cookie') {
      arrayPushPair(pairs, name, getField(fields, name)!)
      continue
    }
    for (let i = 0; i < fields.length; i += 2) if (fields[i] === name) arrayPushPair(pairs, name, fields[i + 1]!)
  }
  return pairs
}

// The prototype between a Headers iterator and %IteratorPrototype%, as Web IDL asks for.
const IteratorPrototype = Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]())) as object

class HeadersIterator {
  #fields: string[]
  #kind: 'entries' | 'keys' | 'values'
  #index = 0

  constructor(fields: string[], kind: 'entries' | 'keys' | 'values') {
    this.#fields = fields
    this.#kind = kind
  }

  next(): IteratorResult<unknown> {
    const pairs = sorted(this.#fields)
    if (this.#index >= pairs.length) return { value: undefined, done: true }
    const name = pairs[this.#index]!
    const value = pairs[this.#index + 1]!
    this.#index += 2
    return { value: this.#kind === 'entries' ? [name, value] : this.#kind === 'keys' ? name : value, done: false }
  }
}
delete (HeadersIterator.prototype as { constructor?: unknown }).constructor
Object.defineProperty(HeadersIterator.prototype, 'next', { enumerable: true })
Object.defineProperty(HeadersIterator.prototype, Symbol.toStringTag, { value: 'Headers Iterator', configurable: true })
Object.setPrototypeOf(HeadersIterator.prototype, IteratorPrototype)

function iterate(fields: string[], kind: 'entries' | 'keys' | 'values') {
  return new HeadersIterator(fields, kind) as unknown as IterableIterator<never>
}
