import { hasOwn, objectDefineProperty, objectGetOwnPropertyDescriptor, reflectOwnKeys } from './primordials.ts'

/** No list of arguments: reading one past its end would ask `Array.prototype`. `count` says how many were given. */
type Construct = (newTarget: object, first: unknown, second: unknown, count: number) => object

/**
 * Puts a constructor of ours in the place of a builtin one: on its holder, and as `constructor` of its prototype. It has
 * the builtin's prototype, so `instanceof` and subclasses work as before, and its static members. The builtin itself is
 * then out of the tenant's reach. Before tenant code runs.
 */
export function replaceConstructor(holder: object, real: { prototype: object; name: string }, make: Construct): object {
  const name = real.name
  const replacement = function (first: unknown, second: unknown): object {
    if (new.target === undefined) throw new TypeError(`Constructor ${name} requires 'new'`)
    return make(new.target as object, first, second, arguments.length)
  }
  const keys = reflectOwnKeys(real)
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i]!
    const own = hasOwn(replacement, key) ? objectGetOwnPropertyDescriptor(replacement, key) : undefined
    const descriptor = objectGetOwnPropertyDescriptor(real, key)!
    if (own === undefined || own.configurable === true) objectDefineProperty(replacement, key, descriptor)
  }
  const fixed = { writable: false, enumerable: false, configurable: false }
  objectDefineProperty(replacement, 'prototype', { value: real.prototype, ...fixed })
  setHidden(real.prototype, 'constructor', replacement)
  setHidden(holder, name, replacement)
  return replacement
}

/** A member as builtins have them: writable, configurable, not enumerable. */
export function setHidden(target: object, key: PropertyKey, value: unknown): void {
  objectDefineProperty(target, key, { value, writable: true, enumerable: false, configurable: true })
}

/** Replaces methods by those of `members`; the builtins' other methods stay. */
export function replaceMethods(target: object, members: object): void {
  const keys = reflectOwnKeys(members)
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i]!
    const before = objectGetOwnPropertyDescriptor(target, key)
    const descriptor = objectGetOwnPropertyDescriptor(members, key)!
    const { enumerable } = before ?? { enumerable: false }
    objectDefineProperty(target, key, { ...descriptor, enumerable: enumerable === true })
  }
}
