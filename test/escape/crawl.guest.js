/* oxlint-disable no-unused-vars */
/* Runs in the isolate: walks whatever can be reached from the values that it is given, and says what is foreign. */
const own = {
  Reflect: { ...Object.fromEntries(Reflect.ownKeys(Reflect).map((key) => [key, Reflect[key]])) },
  getPrototypeOf: Object.getPrototypeOf,
  descriptor: Object.getOwnPropertyDescriptor,
  ObjectPrototype: Object.prototype,
  FunctionPrototype: Function.prototype,
  Function,
  isView: ArrayBuffer.isView,
  isArray: Array.isArray,
  stringify: JSON.stringify,
  tag: Object.prototype.toString,
  Set,
  Map,
  Promise,
}
const bufferOf = own.descriptor(own.getPrototypeOf(Uint8Array.prototype), 'buffer').get
const viewBufferOf = own.descriptor(DataView.prototype, 'buffer').get
const byteLengthOf = own.descriptor(ArrayBuffer.prototype, 'byteLength').get
const seen = new Set()
const queue = []
const found = []
const kinds = {}
let calls = 0
/** Errors that were looked at and not kept. */
let counted = 0

const isObject = (value) => (typeof value === 'object' && value !== null) || typeof value === 'function'

function add(value, path) {
  if (!isObject(value) || seen.has(value)) return
  seen.add(value)
  queue.push([value, path])
}

function report(what, path) {
  if (found.length < 50) found.push(`${what}: ${path}`)
}

/** isolated-vm's classes have these methods; nothing of the platform has. */
const BRANDS = [
  'applySync',
  'applyIgnored',
  'applySyncPromise',
  'derefInto',
  'copyInto',
  'evalSync',
  'evalClosureSync',
  'createContextSync',
  'compileScriptSync',
  'runSync',
  'instantiateSync',
]

function inspect(value, path) {
  let last = value
  let depth = 0
  for (let next = own.getPrototypeOf(last); next !== null && depth < 100; next = own.getPrototypeOf(next), depth++) {
    add(next, `${path}.__proto__`)
    last = next
  }
  // A chain ends in this realm's Object.prototype, or in an object that has nothing of another realm's.
  if (
    last !== own.ObjectPrototype &&
    own.descriptor(last, 'hasOwnProperty') !== undefined &&
    own.descriptor(last, 'isPrototypeOf') !== undefined
  )
    report('a prototype chain of another realm', path)
  const kind = own.tag.call(value)
  kinds[kind] = (kinds[kind] ?? 0) + 1
  if (
    /Reference|ExternalCopy|Isolate\b|Context\b(?!.*Execution)|Callback|NativeModule|SharedArrayBuffer/.test(kind) &&
    kind !== '[object ExecutionContext]'
  )
    report(`a ${kind}`, path)
  for (const brand of BRANDS) if (own.descriptor(value, brand) !== undefined) report(`a member ${brand}`, path)
  if (typeof value === 'function') {
    if (
      value !== own.Function &&
      own.descriptor(value, 'name')?.value === 'Function' &&
      own.descriptor(value, 'prototype')?.value !== undefined
    )
      report('another Function', path)
    const text = own.Function.prototype.toString.call(value)
    if (/node:|isolated|require\(/.test(text) && text.length < 2000 && /process|require\(/.test(text))
      report('code of a host', path)
  }
  if (own.isView(value)) {
    const buffer = kind === '[object DataView]' ? viewBufferOf.call(value) : bufferOf.call(value)
    add(buffer, `${path}.buffer`)
    try {
      byteLengthOf.call(buffer)
    } catch {
      report('a view of shared memory', path)
    }
  }
}

function expand(value, path) {
  inspect(value, path)
  for (const key of own.Reflect.ownKeys(value)) {
    const d = own.descriptor(value, key)
    if (d === undefined) continue
    const at = `${path}.${String(key)}`
    add(d.value, at)
    add(d.get, `${at} (getter)`)
    add(d.set, `${at} (setter)`)
    if (d.get !== undefined) attempt(() => d.get.call(value), `${at} ()`)
  }
  if (value instanceof own.Map || value instanceof own.Set)
    for (const entry of value) for (const part of own.isArray(entry) ? entry : [entry]) add(part, `${path}[entry]`)
}

/** What a call gives or throws; promises are followed later. */
function attempt(call, path) {
  calls++
  try {
    const result = call()
    add(result, path)
    if (result instanceof own.Promise) {
      own.Promise.prototype.then.call(
        result,
        (value) => add(value, `${path} resolved`),
        (error) => add(error, `${path} rejected`),
      )
    }
  } catch (error) {
    if (!isPlainError(error)) add(error, `${path} threw`)
  }
}

/** One of many: of a prototype that has been looked at, with nothing of its own but a text and a stack. */
function isPlainError(error) {
  if (!isObject(error) || !seen.has(own.getPrototypeOf(error))) return false
  for (const key of own.Reflect.ownKeys(error)) if (key !== 'stack' && key !== 'message') return false
  counted++
  return typeof own.descriptor(error, 'message')?.value !== 'object'
}

function drain() {
  while (queue.length > 0) expand(...queue.pop())
}
