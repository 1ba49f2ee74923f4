import {
  hasOwn,
  numberIsFinite,
  mathTrunc,
  objectDefineProperty,
  objectGetOwnPropertyDescriptor,
  reflectOwnKeys,
  setAdd,
  stringToWellFormed,
} from './primordials.ts'

/** Of the classes that the prelude defines: what has one in its chain is no plain object. */
export const platformPrototypes = new Set<object>()

/** Gives a class the shape that Web IDL asks for: members enumerable, `Symbol.toStringTag` on the prototype. */
export function defineInterface(constructor: { prototype: object; name: string }, name: string = constructor.name): void {
  setAdd(platformPrototypes, constructor.prototype)
  makeEnumerable(constructor.prototype, 'constructor')
  makeEnumerable(constructor, 'prototype')
  objectDefineProperty(constructor, 'name', { value: name, configurable: true })
  objectDefineProperty(constructor.prototype, Symbol.toStringTag, { value: name, configurable: true })
}

function makeEnumerable(target: object, except: string): void {
  const keys = reflectOwnKeys(target)
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i]!
    if (typeof key === 'symbol' || key === except || key === 'name' || key === 'length') {
      // A `name` or `length` accessor of a prototype is a member of the interface; that of a function is not.
      if (typeof key === 'symbol' || key === except || typeof target === 'function') continue
    }
    const descriptor = objectGetOwnPropertyDescriptor(target, key)!
    if (descriptor.configurable) objectDefineProperty(target, key, { ...descriptor, enumerable: true })
  }
}

export function defineConstants(constructor: { prototype: object }, constants: Record<string, number>): void {
  for (const name in constants) {
    if (!hasOwn(constants, name)) continue
    const descriptor = { value: constants[name], enumerable: true, writable: false, configurable: false }
    objectDefineProperty(constructor, name, descriptor)
    objectDefineProperty(constructor.prototype, name, descriptor)
  }
}

export function requireArguments(given: number, needed: number, what: string): void {
  if (given < needed)
    throw new TypeError(`${what}: ${needed} argument${needed === 1 ? '' : 's'} required, but only ${given} present.`)
}

/** Web IDL's DOMString: the language's ToString, which refuses symbols. */
export function toDOMString(value: unknown): string {
  return typeof value === 'string' ? value : `${value as string}`
}

/** DOMString with lone surrogates replaced. */
export function toUSVString(value: unknown): string {
  return stringToWellFormed(typeof value === 'string' ? value : `${value as string}`)
}

/** A dictionary argument: undefined and null are the empty one, other primitives are refused. */
export function toDictionary(value: unknown, what: string): Record<string, unknown> {
  if (value === undefined || value === null) return { __proto__: null } as unknown as Record<string, unknown>
  if (typeof value !== 'object' && typeof value !== 'function') throw new TypeError(`${what} is not an object.`)
  return value as Record<string, unknown>
}

/** `[EnforceRange] unsigned long long` */
export function toEnforcedInteger(value: unknown, what: string): number {
  const number = mathTrunc(+(value as number))
  if (!numberIsFinite(number) || number < 0 || number > 9007199254740991) throw new TypeError(`${what} is out of range.`)
  return number === 0 ? 0 : number
}

/** The language's ToIndex: a length. */
export function toIndex(value: unknown): number {
  const number = mathTrunc(+(value as number))
  if (number < 0 || number > 9007199254740991) throw new RangeError('Invalid length')
  return number === number && number !== 0 ? number : 0
}

export function illegalConstructor(): TypeError {
  return new TypeError('Illegal constructor')
}
