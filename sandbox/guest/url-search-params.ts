/* oxlint-disable typescript/no-unsafe-declaration-merging -- `definePairIterable` adds the methods that the interface names */
import {
  arrayPush,
  arrayPushPair,
  arraySort,
  arrayRemove,
  objectGetOwnPropertyDescriptor,
  reflectOwnKeys,
  stringIndexOf,
  stringSlice,
} from './primordials.ts'
import { type PairIterable, definePairIterable } from './pair-iterable.ts'
import { FORM_SET, percentDecode, percentEncode } from './percent.ts'
import { defineInterface, requireArguments, toUSVString } from './webidl.ts'

/** Name, value, name, value, … */
type Pairs = string[]

/** application/x-www-form-urlencoded; for `formData()` as well. */
export function parseForm(text: string): Pairs {
  const pairs: Pairs = []
  const length = text.length
  let start = 0
  while (start < length) {
    let end = stringIndexOf(text, '&', start)
    if (end < 0) end = length
    if (end > start) {
      const part = stringSlice(text, start, end)
      const equals = stringIndexOf(part, '=')
      arrayPush(pairs, percentDecode(equals < 0 ? part : stringSlice(part, 0, equals), true))
      arrayPush(pairs, equals < 0 ? '' : percentDecode(stringSlice(part, equals + 1), true))
    }
    start = end + 1
  }
  return pairs
}

export function serializeForm(pairs: Pairs): string {
  let text = ''
  for (let i = 0; i < pairs.length; i += 2) {
    if (i > 0) text += '&'
    text += percentEncode(pairs[i]!, FORM_SET, true) + '=' + percentEncode(pairs[i + 1]!, FORM_SET, true)
  }
  return text
}

/** The parameters of a URL: `onChange` gets the new query each time they are changed. */
export let createLinkedParams: (query: string, onChange: (query: string) => void) => URLSearchParams
/** The URL's query was set: no `onChange` for that. */
export let replaceParams: (params: URLSearchParams, query: string) => void
/** Whether it is one, and its serialisation: for a body. */
export let paramsToString: (value: unknown) => string | null

let pairAt: (params: URLSearchParams, index: number) => [string, string] | null

const permit = {}

export class URLSearchParams {
  #pairs: Pairs = []
  #onChange: ((query: string) => void) | null = null

  constructor(init: unknown = '', linked?: unknown) {
    if (linked === permit) return
    if ((typeof init === 'object' && init !== null) || typeof init === 'function') this.#pairs = pairsOf(init)
    else {
      const text = toUSVString(init)
      this.#pairs = parseForm(text[0] === '?' ? stringSlice(text, 1) : text)
    }
  }
  get size(): number {
    return this.#pairs.length / 2
  }
  append(name: string, value: string): void {
    requireArguments(arguments.length, 2, 'URLSearchParams.append')
    const key = toUSVString(name)
    arrayPushPair(this.#pairs, key, toUSVString(value))
    this.#changed()
  }
  delete(name: string, value?: string): void {
    requireArguments(arguments.length, 1, 'URLSearchParams.delete')
    const key = toUSVString(name)
    const wanted = value === undefined ? undefined : toUSVString(value)
    const pairs = this.#pairs
    for (let i = 0; i < pairs.length;) {
      if (pairs[i] === key && (wanted === undefined || pairs[i + 1] === wanted)) arrayRemove(pairs, i, 2)
      else i += 2
    }
    this.#changed()
  }
  get(name: string): string | null {
    requireArguments(arguments.length, 1, 'URLSearchParams.get')
    const key = toUSVString(name)
    const pairs = this.#pairs
    for (let i = 0; i < pairs.length; i += 2) if (pairs[i] === key) return pairs[i + 1]!
    return null
  }
  getAll(name: string): string[] {
    requireArguments(arguments.length, 1, 'URLSearchParams.getAll')
    const key = toUSVString(name)
    const pairs = this.#pairs
    const values: string[] = []
    for (let i = 0; i < pairs.length; i += 2) if (pairs[i] === key) arrayPush(values, pairs[i + 1]!)
    return values
  }
  has(name: string, value?: string): boolean {
    requireArguments(arguments.length, 1, 'URLSearchParams.has')
    const key = toUSVString(name)
    const wanted = value === undefined ? undefined : toUSVString(value)
    const pairs = this.#pairs
    for (let i = 0; i < pairs.length; i += 2) {
      if (pairs[i] === key && (wanted === undefined || pairs[i + 1] === wanted)) return true
    }
    return false
  }
  set(name: string, value: string): void {
    requireArguments(arguments.length, 2, 'URLSearchParams.set')
    const key = toUSVString(name)
    const text = toUSVString(value)
    const pairs = this.#pairs
    let found = false
    for (let i = 0; i < pairs.length;) {
      if (pairs[i] !== key) i += 2
      else if (found) arrayRemove(pairs, i, 2)
      else {
        found = true
        pairs[i + 1] = text
        i += 2
      }
    }
    if (!found) arrayPushPair(pairs, key, text)
    this.#changed()
  }
  sort(): void {
    const pairs = this.#pairs
    const order: { name: string; value: string }[] = []
    for (let i = 0; i < pairs.length; i += 2) arrayPush(order, { name: pairs[i]!, value: pairs[i + 1]! })
    arraySort(order, (a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
    for (let i = 0; i < order.length; i++) {
      pairs[2 * i] = order[i]!.name
      pairs[2 * i + 1] = order[i]!.value
    }
    this.#changed()
  }
  toString(): string {
    return serializeForm(this.#pairs)
  }

  #changed(): void {
    if (this.#onChange !== null) this.#onChange(serializeForm(this.#pairs))
  }

  static {
    createLinkedParams = (query, onChange) => {
      const params = new URLSearchParams('', permit)
      params.#pairs = parseForm(query)
      params.#onChange = onChange
      return params
    }
    replaceParams = (params, query) => {
      params.#pairs = parseForm(query)
    }
    paramsToString = (value) =>
      typeof value === 'object' && value !== null && #pairs in value ? serializeForm(value.#pairs) : null
    pairAt = (params, index) => {
      const pairs = params.#pairs
      return 2 * index < pairs.length ? [pairs[2 * index]!, pairs[2 * index + 1]!] : null
    }
  }
}

export interface URLSearchParams extends PairIterable<string> {}

definePairIterable(URLSearchParams, (params, index) => pairAt(params, index))
defineInterface(URLSearchParams)

function pairsOf(init: object): Pairs {
  const pairs: Pairs = []
  const iterator: unknown = (init as { [Symbol.iterator]?: unknown })[Symbol.iterator]
  if (iterator !== undefined && iterator !== null) {
    if (typeof iterator !== 'function') throw new TypeError('URLSearchParams: the argument is not iterable.')
    for (const entry of init as Iterable<unknown>) {
      if ((typeof entry !== 'object' || entry === null) && typeof entry !== 'function') {
        throw new TypeError('URLSearchParams: each entry must be a pair of name and value.')
      }
      let count = 0
      for (const part of entry as Iterable<unknown>) {
        if (++count > 2) break
        arrayPush(pairs, toUSVString(part))
      }
      if (count !== 2) throw new TypeError('URLSearchParams: each entry must be a pair of name and value.')
    }
    return pairs
  }
  const keys = reflectOwnKeys(init)
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i]!
    const descriptor = objectGetOwnPropertyDescriptor(init, key)
    if (descriptor === undefined || !descriptor.enumerable) continue
    const name = toUSVString(key)
    const value = toUSVString((init as Record<PropertyKey, unknown>)[key])
    // Two keys can become one when their lone surrogates are replaced.
    let at = 0
    while (at < pairs.length && pairs[at] !== name) at += 2
    pairs[at] = name
    pairs[at + 1] = value
  }
  return pairs
}
