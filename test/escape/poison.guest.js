/* oxlint-disable no-unused-vars */
/* Runs in the isolate: replaces one property of the language's and platform's own objects at a time, and uses the Web APIs. */
const { defineProperty, getOwnPropertyDescriptor, getPrototypeOf } = Object
const { apply, ownKeys } = Reflect
const { stringify } = JSON
const { Response, Request, Headers, URL, TextEncoder, TextDecoder, ReadableStream, AbortController, Error } = globalThis
const { console, fetch, setTimeout, structuredClone, queueMicrotask } = globalThis
const urlOf = getOwnPropertyDescriptor(Request.prototype, 'url').get
const startsWith = (text, start) => {
  for (let i = 0; i < start.length; i++) if (text[i] !== start[i]) return false
  return true
}

/** What follows the origin, by indexing alone: nothing here may rely on what is replaced. */
function pathOf(request) {
  const url = apply(urlOf, request, [])
  let path = ''
  for (let i = 20; i < url.length; i++) path += url[i]
  return path
}
/** '/poison/12/odd' */
function numberIn(path) {
  let value = 0
  for (let i = 8; path[i] !== '/'; i++) value = value * 10 + (path[i] - 0)
  return value
}

/** Every object of the language and the platform, by a walk from the global object and from what syntax makes. */
function intrinsics() {
  const found = new Set()
  const visit = (value) => {
    if ((typeof value !== 'object' || value === null) && typeof value !== 'function') return
    if (found.has(value)) return
    found.add(value)
    visit(getPrototypeOf(value))
    for (const key of ownKeys(value)) {
      const d = getOwnPropertyDescriptor(value, key)
      for (const part of [d.value, d.get, d.set]) visit(part)
    }
  }
  visit(globalThis)
  for (const value of [
    function* () {},
    async () => {},
    async function* () {},
    [][Symbol.iterator](),
    new Map().entries(),
    new Set().values(),
    ''.matchAll(/x/g),
    'x'[Symbol.iterator](),
    (function* () {})(),
    (async function* () {})(),
    new Response('x'),
    new Request('http://a/'),
    new Headers().entries(),
    new AbortController().signal,
    new Error('x'),
    new Intl.Segmenter().segment('x'),
  ]) {
    let at = value
    while ((at = getPrototypeOf(at)) !== null) visit(at)
  }
  return [...found]
}

const spots = []
const text = (key) => (typeof key === 'symbol' ? `[${key.description}]` : key)
function list(names) {
  for (const target of intrinsics()) {
    const keys = ownKeys(target)
    const name =
      getOwnPropertyDescriptor(target, 'name')?.value ?? getOwnPropertyDescriptor(target, Symbol.toStringTag)?.value ?? ''
    for (const key of keys) {
      const d = getOwnPropertyDescriptor(target, key)
      // A name or length of a function is read by nobody; there are thousands.
      if (typeof target === 'function' && (key === 'name' || key === 'length')) continue
      if (d.configurable || d.writable)
        spots[spots.length] = { target, key, what: `${typeof name === 'string' ? name : ''}.${text(key)}` }
    }
  }
  for (const [what, target] of [
    ['Object.prototype', Object.prototype],
    ['Array.prototype', Array.prototype],
    ['Function.prototype', Function.prototype],
    ['Promise.prototype', Promise.prototype],
  ])
    for (const key of what === 'Object.prototype'
      ? names
      : [
          '0',
          '1',
          '2',
          '7',
          'then',
          'constructor',
          Symbol.species,
          Symbol.iterator,
          Symbol.toPrimitive,
          Symbol.isConcatSpreadable,
          Symbol.hasInstance,
        ])
      if (getOwnPropertyDescriptor(target, key) === undefined)
        spots[spots.length] = { target, key, what: `${what}.${text(key)} (new)` }
  spots[spots.length] = { target: Error, key: 'prepareStackTrace', what: 'Error.prepareStackTrace' }
  const shown = []
  for (let i = 0; i < spots.length; i++) shown[i] = spots[i].what
  return shown
}

let saved = null
const refuse = () => {
  throw new Error('poisoned')
}
const odd = function () {
  return { __proto__: null }
}
function poison(index, mode) {
  const { target, key } = spots[index]
  const before = getOwnPropertyDescriptor(target, key)
  saved = { target, key, before }
  if (before !== undefined) before.__proto__ = null
  const isFunction = before !== undefined && typeof before.value === 'function'
  const bad = mode === 'throws' ? refuse : odd
  const descriptor = { __proto__: null, configurable: true }
  if (isFunction || (before !== undefined && before.configurable === false)) {
    descriptor.value = isFunction ? bad : odd()
    if (before.configurable) descriptor.writable = true
    else descriptor.configurable = false
  } else {
    descriptor.get = mode === 'throws' && before !== undefined ? refuse : () => undefined
    descriptor.set = mode === 'throws' ? refuse : () => {}
  }
  defineProperty(target, key, descriptor)
}
function restore() {
  if (saved === null) return
  const { target, key, before } = saved
  saved = null
  if (before === undefined) delete target[key]
  else defineProperty(target, key, before)
}

const GONE = { __proto__: null, status: 299 }
/** Each use may fail in its own way; none may leave the prelude in a state of which others hear. */
async function use(request, ctx) {
  const attempt = async (run) => {
    try {
      await run()
    } catch {}
  }
  await attempt(() => console.log('line %o', { a: [1, new Map([[1, 2]])] }, new Error('x')))
  await attempt(() => new Headers({ a: 'b' }).append('c', 'd'))
  await attempt(() => new URL('http://a/?b=c').searchParams.append('d', 'e'))
  await attempt(() => new TextDecoder().decode(new TextEncoder().encode('é')))
  await attempt(() => structuredClone({ a: [1, new Map(), new Uint8Array(1)] }))
  await attempt(() => queueMicrotask(() => {}))
  await attempt(() => setTimeout(() => {}, 0))
  await attempt(() => ctx.waitUntil(undefined))
  await attempt(() => {
    const controller = new AbortController()
    controller.signal.addEventListener('abort', () => {})
    controller.abort()
  })
  await attempt(() => request.headers.get('a'))
  await attempt(() => void fetch('http://192.0.2.1:1/', { method: 'POST', headers: { a: 'b' }, body: 'x' }).catch(() => {}))
}

function answer(path) {
  if (startsWith(path, '/stream')) {
    let left = 3
    return new Response(
      new ReadableStream({ pull: (c) => (left-- > 0 ? c.enqueue(new TextEncoder().encode('part')) : c.close()) }),
      { status: 200, headers: { a: 'b' } },
    )
  }
  if (startsWith(path, '/throw')) throw new Error('thrown')
  return new Response('whole', GONE)
}
