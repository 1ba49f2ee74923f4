import { objectDefineProperty, objectGetPrototypeOf, objectSetPrototypeOf, reflectApply } from './primordials.ts'
import { requireArguments } from './webidl.ts'

export interface PairIterable<V> {
  forEach(callback: (value: V, name: string, target: this) => void, thisArg?: unknown): void
  keys(): IterableIterator<string>
  values(): IterableIterator<V>
  entries(): IterableIterator<[string, V]>
  [Symbol.iterator](): IterableIterator<[string, V]>
}

const IteratorPrototype = objectGetPrototypeOf(objectGetPrototypeOf([][Symbol.iterator]())) as object

/**
 * Web IDL's `iterable<K, V>`: `keys`, `values`, `entries`, `forEach` and `Symbol.iterator`. `at` answers the name and value at an
 * index, or null past the end; it throws on a `self` that is not of the class. Iterators are live.
 */
export function definePairIterable<T extends object, V>(
  constructor: { prototype: T; name: string },
  at: (self: T, index: number) => [string, V] | null,
): void {
  const name = constructor.name

  class PairIterator {
    #self: T
    #kind: 0 | 1 | 2
    #index = 0
    constructor(self: T, kind: 0 | 1 | 2) {
      this.#self = self
      this.#kind = kind
    }
    next(): { value: unknown; done: boolean } {
      const pair = at(this.#self, this.#index)
      if (pair === null) return { value: undefined, done: true }
      this.#index++
      return { value: this.#kind === 2 ? pair : pair[this.#kind], done: false }
    }
  }
  // Its prototype has no `constructor`: the class is not the tenant's to call.
  const prototype = PairIterator.prototype as { constructor?: unknown }
  delete prototype.constructor
  objectSetPrototypeOf(prototype, IteratorPrototype)
  define(prototype, 'next', PairIterator.prototype.next, true)
  objectDefineProperty(prototype, Symbol.toStringTag, { value: `${name} Iterator`, configurable: true })
  const iterator = (self: T, kind: 0 | 1 | 2): PairIterator => {
    at(self, 0)
    return new PairIterator(self, kind)
  }

  const methods = {
    entries(this: T) {
      return iterator(this, 2)
    },
    forEach(this: T, callback: unknown, thisArg?: unknown): void {
      at(this, 0)
      requireArguments(arguments.length, 1, `${name}.forEach`)
      if (typeof callback !== 'function') throw new TypeError(`${name}.forEach: the callback is not a function.`)
      for (let i = 0; ; i++) {
        const pair = at(this, i)
        if (pair === null) return
        reflectApply(callback as () => void, thisArg, [pair[1], pair[0], this])
      }
    },
    keys(this: T) {
      return iterator(this, 0)
    },
    values(this: T) {
      return iterator(this, 1)
    },
  }
  define(constructor.prototype, 'entries', methods.entries, true)
  define(constructor.prototype, 'forEach', methods.forEach, true)
  define(constructor.prototype, 'keys', methods.keys, true)
  define(constructor.prototype, 'values', methods.values, true)
  define(constructor.prototype, Symbol.iterator, methods.entries, false)
  objectDefineProperty(methods.forEach, 'length', { value: 1, configurable: true })
}

function define(target: object, key: PropertyKey, value: unknown, enumerable: boolean): void {
  objectDefineProperty(target, key, { value, writable: true, enumerable, configurable: true })
}
