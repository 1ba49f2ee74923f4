import { account, accounted } from './memory.ts'
import { construct, getter, objectDefineProperty, uncurryThis } from './primordials.ts'
import { replaceConstructor, replaceMethods } from './replace.ts'
import { toDictionary, toIndex } from './webidl.ts'

type Transfer = (self: unknown, length?: unknown) => ArrayBuffer

const isResizable: (self: unknown) => boolean = getter(ArrayBuffer.prototype, 'resizable')
const maxByteLength: (self: unknown) => number = getter(ArrayBuffer.prototype, 'maxByteLength')
const transferOf = uncurryThis(ArrayBuffer.prototype.transfer as never) as Transfer

/**
 * A resizable buffer reserves its maximum outside of what V8 counts, and has it without asking again: it is charged with
 * that. Fixed buffers are V8's to count.
 */
export function installBuffers(global: object): void {
  const Real = ArrayBuffer
  replaceConstructor(global, Real, (newTarget, length, options) => {
    // As the constructor does it: the length first, then the option, each read once.
    const bytes = toIndex(length)
    const given = typeof options === 'object' && options !== null ? toDictionary(options, 'options').maxByteLength : undefined
    if (given === undefined) return construct(Real, [bytes], newTarget)
    const most = toIndex(given)
    const make = () => construct(Real, [bytes, { __proto__: null, maxByteLength: most }], newTarget)
    return bytes > most ? make() : accounted(most, 'ArrayBuffer', make)
  })
  replaceMethods(Real.prototype, {
    transfer(newLength?: unknown): ArrayBuffer {
      return transferBuffer(this, newLength)
    },
  })
  objectDefineProperty(Real.prototype.transfer, 'length', { value: 0 })
}

/** The new buffer is as resizable as the old one was. */
export function transferBuffer(from: unknown, newLength?: unknown): ArrayBuffer {
  if (!isResizable(from)) return transferOf(from, newLength)
  const most = maxByteLength(from)
  const moved = transferOf(from, newLength)
  account(moved, most)
  return moved
}

/** An instance of it is nowhere to be had once shared memories are refused; this is for the day that one is. */
export function removeSharedBuffers(global: object): void {
  const scope = global as { SharedArrayBuffer?: { prototype: object } }
  const shared = scope.SharedArrayBuffer
  if (shared === undefined) return
  for (const key of ['constructor', 'grow'])
    objectDefineProperty(shared.prototype, key, { value: undefined, writable: false, configurable: false })
  delete scope.SharedArrayBuffer
}
