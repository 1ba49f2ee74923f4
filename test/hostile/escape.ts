import { CONTAINED, handler, tries } from './attack.ts'
import type { Attack } from './attack.ts'

/** Ways out of the isolate, tried where they would matter: in a worker that serves. `test/escape/` looks at each more closely. */

/** Of CPU time: what it is after is not that, and the machine may be busy. Of wall time little, as the end of the host waits for it. */
const PLENTY = { cpuMs: 2_000, wallMs: 6_000 }

const contained = (name: string, body: string, more: Partial<Attack> = {}): Attack => ({
  name,
  source: tries(body),
  limits: PLENTY,
  expect: 200,
  text: CONTAINED,
  ...more,
})

/** It breaks what is around it, then two more requests have to be answered as if it had not. */
const poisons = (name: string, poison: string): Attack => ({
  name,
  source: handler(
    `if (request.method === 'GET') { const ok = new R('poisoned'); ${poison}; return ok }
    return new R((await request.text()) + request.method, { headers: { a: 'b' } })`,
    'const R = Response',
  ),
  limits: PLENTY,
  requests: [{}, { body: 'text' }, { body: 'text' }],
  expect: 200,
  text: /^textPOST$/,
})

/** Every value that the tenant is handed, for the chains below. */
const HANDED = `const handed = [request, env, ctx, ctx.waitUntil, request.headers, request.signal, request.body, Response, fetch, console.log,
  setTimeout, queueMicrotask, structuredClone, crypto, performance, navigator, URL, new Error('x'), Promise.resolve(), globalThis]
  for (const make of [() => null.x, () => fetch('nonsense:'), () => new URL('x'), () => structuredClone(() => {})]) try { const r = make(); if (r?.catch) r.catch((e) => handed.push(e)) } catch (e) { handed.push(e) }
  await null; await null; await null`

export const escape: Attack[] = [
  contained(
    'constructor of a constructor',
    `${HANDED}
    for (const value of handed) try { const f = value.constructor.constructor; const g = f('return globalThis')(); found.push('code from a string'); if (host(g)) found.push('host') } catch {}`,
  ),
  contained(
    'constructors up the prototype chain',
    `${HANDED}
    for (let value of handed) for (let p = value; p != null; p = Object.getPrototypeOf(p)) { let c; try { c = p.constructor } catch {} if (host(c) || (c && host(c.prototype))) found.push(String(c)) }`,
  ),
  contained(
    'code from strings in every way',
    `
    const kinds = [function () {}, async () => {}, function* () {}, async function* () {}, class { m() {} }.prototype.m]
    for (const f of kinds) try { f.constructor('return 1'); found.push(String(f)) } catch {}
    for (const run of [() => eval('1'), () => (0, eval)('1'), () => new Function('return 1'), () => setTimeout('1', 0), () => setInterval('1', 0), () => Reflect.construct(Function, ['return 1']), () => Reflect.construct(function () {}, [], Function)('x'), () => [].map.constructor('return 1')()])
      try { const v = run(); if (v === 1 || (typeof v === 'function' && v() === 1)) found.push(String(run)) } catch {}`,
  ),
  contained(
    'globals of a host',
    `for (const name of ['process', 'require', 'global', 'Buffer', '__skep', 'module', 'ivm', '_ivm', 'Deno', 'Bun', 'SharedArrayBuffer', 'setImmediate', 'gc', 'd8', 'load', 'read', 'print', 'quit', 'Worker', 'ShadowRealm', 'importScripts', '$0', '$262', '__dirname'])
    if (name in globalThis || typeof globalThis[name] !== 'undefined') found.push(name)`,
  ),
  contained(
    'prepareStackTrace and its call sites',
    `
    let sites = []
    Error.prepareStackTrace = (e, s) => { sites = s; return '' }
    const trip = () => { try { null.x } catch (e) { void e.stack } void new Error().stack; const o = {}; Error.captureStackTrace?.(o); void o.stack }
    trip(); await null; trip(); setTimeout(trip, 0); await new Promise((r) => setTimeout(r, 1))
    for (const site of sites) { if (host(site.getThis?.())) found.push('this'); if (host(site.getFunction?.()?.constructor)) found.push('function'); if (/node:|\\/sandbox\\/|node_modules|isolated/.test(site.getFileName?.() ?? '')) found.push(site.getFileName()) }`,
  ),
  contained(
    'a stack that names the host',
    `
    const stacks = [new Error().stack]
    try { (function f() { f() })() } catch (e) { stacks.push(e.stack); if (host(e.constructor.constructor)) found.push('overflow') }
    await fetch('http://127.0.0.1:1/').catch((e) => stacks.push(e.stack, e.message, String(e.cause)))
    for (const s of stacks) if (/node:|isolated|\\/work\\/|\\/usr\\/|\\/home\\/|node_modules|undici|cell-main|worker-main/.test(s)) found.push(s)`,
  ),
  contained(
    'overflow inside of every global',
    `
    const deep = (n, f) => { try { return n ? deep(n - 1, f) : f() } catch (e) { if (host(e) || host(e?.constructor)) found.push('host'); throw e } }
    for (const f of [() => new Response('x'), () => new URL('http://a/'), () => structuredClone({}), () => new Headers([['a', 'b']]), () => console.log('x'), () => fetch('http://127.0.0.1:1/').catch(() => {}), () => crypto.randomUUID()])
      for (let n = 5000; n < 12000; n += 250) try { deep(n, f) } catch {}`,
  ),
  contained(
    'callers of a function',
    `
    const sloppy = function () { return sloppy.caller }
    try { const c = sloppy(); if (c !== null) found.push('caller') } catch {}
    try { (function () { return arguments.callee.caller })(); } catch {}
    try { [1].sort(function () { if (host(arguments.callee?.caller)) found.push('callee') }) } catch {}`,
  ),
  contained(
    'species',
    `
    class Spy extends Promise { constructor(run) { super((a, b) => { if (host(a.constructor) || host(b.constructor)) found.push('host'); run(a, b) }) } static get [Symbol.species]() { return Spy } }
    Object.defineProperty(Promise, Symbol.species, { get: () => Spy, configurable: true })
    await fetch('nonsense:').catch(() => {}); await new Response('x').text(); ctx.waitUntil(Promise.resolve())`,
  ),
  contained(
    'a then that is called with resolvers',
    `
    Object.prototype.then = function (a, b) { if (host(a) || host(b) || host(a?.constructor)) found.push('host'); delete Object.prototype.then; a?.(undefined) }
    await ({}); delete Object.prototype.then`,
  ),
  contained(
    'a proxy handed to every API',
    `
    const real = (v) => v !== spy && host(v)
    const spy = new Proxy(function () {}, { get: (t, k, r) => { if (real(r)) found.push('receiver'); return k === 'done' ? true : k === Symbol.toPrimitive ? () => 'x' : spy }, apply: (t, self, args) => { if (real(self) || args.some(real)) found.push('args'); return spy }, construct: () => ({}), has: () => true, ownKeys: () => ['a'], getOwnPropertyDescriptor: () => ({ value: spy, configurable: true, enumerable: true }) })
    for (const f of [() => new Response(spy), () => new Response('', spy), () => new Request(spy), () => new Request('http://a/', spy), () => new Headers(spy), () => new URL(spy), () => fetch(spy).catch(() => {}), () => structuredClone(spy), () => console.log(spy), () => ctx.waitUntil(spy), () => setTimeout(spy, 0), () => new ReadableStream(spy), () => new TextDecoder(spy), () => crypto.getRandomValues(spy), () => new AbortController().abort(spy), () => reportError(spy)])
      try { f() } catch (e) { if (real(e) || real(e?.constructor)) found.push('error') }`,
  ),
  contained(
    'errors that the host makes',
    `
    const seen = []
    for (const url of ['http://127.0.0.1:1/', 'http://[::1]:1/', 'ftp://a/', 'http://']) await fetch(url).catch((e) => seen.push(e))
    for (const e of seen) if (!(e instanceof Error) || host(e) || host(e.constructor) || host(e.constructor.constructor)) found.push(String(e))`,
  ),
  contained(
    'imports of the host',
    `
    for (const load of [() => require('fs'), () => globalThis.require('fs'), () => module.constructor._load('fs'), () => process.binding('fs'), () => process.mainModule.require('fs')]) try { load(); found.push(String(load)) } catch {}`,
  ),
  {
    name: 'import() in a script of one’s own',
    script: {
      code: `({ default: { async fetch() { const found = []; for (const s of ['node:fs', 'fs', 'data:text/javascript,export default 1', 'file:///etc/passwd', '/bundle.js']) try { await import(s); found.push(s) } catch {} return new Response(found.length ? 'ESCAPED ' + found : 'contained') } } })`,
    },
    expect: 200,
    text: CONTAINED,
  },
  {
    name: 'a script that looks for the prelude’s door',
    script: {
      code: `(() => { const at = [typeof __skep, typeof globalThis.__skep, Object.getOwnPropertyNames(globalThis).filter((n) => n.includes('skep')).filter((n) => n !== '__skep_modules')].flat(); return { default: { fetch: () => new Response(at.every((x) => x === 'undefined') ? 'contained' : 'ESCAPED ' + at) } } })()`,
    },
    expect: 200,
    text: CONTAINED,
  },
  {
    name: 'a setter waiting for the prelude’s door',
    script: {
      code: `(() => { const got = []; for (const k of ['__skep', 'emit', 'connect', 'dispatch', 'start', 'flush']) for (const o of [Object.prototype, Function.prototype, globalThis]) try { Object.defineProperty(o, k, { set(v) { got.push(k) }, get() { return undefined }, configurable: true }) } catch {} return { default: { fetch: () => new Response(got.length ? 'ESCAPED ' + got : 'contained') } } })()`,
    },
    requests: [{}, { body: 'x' }],
    expect: 200,
    text: CONTAINED,
  },
  contained(
    'setters for the fields of messages',
    `const got = []; const names = [0, 1, 2, 3, 4, 5, 'type', 'event', 'id', 'body', 'resolve', 'reject', 'done', 'value', 'credit', 'pending', 'incoming']
    for (const k of names) Object.defineProperty(Object.prototype, k, { __proto__: null, set(v) { got[got.length] = v }, get() { return undefined }, configurable: true })
    await fetch('nonsense:').catch(() => {}); console.log('x'); new Response('y', { headers: [['a', 'b']] })
    for (const k of names) delete Object.prototype[k]
    for (const v of got) if (typeof v === 'function' && host(v)) found.push(String(v))`,
  ),
  contained(
    'iterators of the prelude’s arrays',
    `
    const own = Array.prototype[Symbol.iterator]; const got = []
    Array.prototype[Symbol.iterator] = function () { got.push(this); return own.call(this) }
    new Headers([['a', 'b']]); console.log('x', [1]); await fetch('nonsense:').catch(() => {})
    Array.prototype[Symbol.iterator] = own
    for (const v of got) if (v.some((x) => typeof x === 'function' && host(x))) found.push('array')`,
  ),
  contained(
    'call, apply and bind',
    `
    const got = []; const { call, apply, bind } = Function.prototype
    for (const k of ['call', 'apply', 'bind']) Function.prototype[k] = function (...a) { got.push(this, ...a); return undefined }
    try { fetch('nonsense:'); console.log('x'); new Response('x').text(); new URL('http://a/') } catch {}
    Object.assign(Function.prototype, { call, apply, bind })
    for (const v of got) if (host(v)) found.push(String(v))`,
  ),
  contained(
    'private state of other classes',
    `
    class Grab extends (function (o) { return o }) { #x = 1; static read(o) { return #x in o && o.#x } }
    for (const o of [request, ctx, request.headers, globalThis]) try { new Grab(o); if (host(Grab.read(o))) found.push('x') } catch {}
    for (const f of [Object.getOwnPropertyDescriptor(Request.prototype, 'url').get, Object.getOwnPropertyDescriptor(Response.prototype, 'status').get, ctx.waitUntil]) for (const o of [{}, globalThis, null, Object.create(Request.prototype)]) try { const v = f.call(o, Promise.resolve()); if (v !== undefined) found.push(String(v)) } catch {}`,
  ),
  contained(
    'new.target of somebody else',
    `
    for (const C of [Response, Request, Headers, URL, ReadableStream, AbortController, TextEncoder]) for (const T of [Array, Map, Promise, Proxy, function () {}.bind(), Error]) try { const o = Reflect.construct(C, ['http://a/'], T); if (host(o) || host(o.constructor)) found.push(C.name) } catch {}`,
  ),
  contained(
    'functions in structuredClone and transfers',
    `
    for (const v of [() => 1, fetch, ctx, request, new Proxy({}, {}), Symbol('x')]) try { structuredClone(v); if (typeof v === 'function') found.push('function') } catch {}
    const b = new ArrayBuffer(8); try { structuredClone(b, { transfer: [b, b] }); found.push('twice') } catch {}
    try { structuredClone(1, { transfer: [ctx] }); found.push('ctx') } catch {}`,
  ),
  contained(
    'errors of WebAssembly',
    `let e
    try { new WebAssembly.Module(new Uint8Array([0, 97, 115, 109, 2])) } catch (x) { e = x }
    if (host(e) || host(e?.constructor) || host(e?.constructor?.constructor)) found.push('error')`,
  ),
  contained(
    'the environment',
    `for (const name of ['PATH', 'HOME', 'SKEP_EGRESS_ALLOW', 'AWS_SECRET_ACCESS_KEY', 'constructor.constructor']) if (typeof env[name] !== 'undefined') found.push(name)
    if (Object.keys(env).some((k) => k !== 'MINE') || host(env.constructor?.constructor)) found.push(Object.keys(env))`,
    { vars: { MINE: '1' } },
  ),
  {
    name: 'variables with the names of prototypes',
    source: handler(`return new Response(String(env.toString === 'x') + typeof {}.polluted)`),
    vars: { toString: 'x', constructor: 'y', hasOwnProperty: 'z' },
    expect: 200,
    text: /^trueundefined$/,
  },
  poisons(
    'arrays broken',
    `for (const k of ['push', 'pop', 'shift', 'slice', 'splice', 'map', 'join', 'sort', Symbol.iterator]) Array.prototype[k] = () => { throw 1 }`,
  ),
  poisons(
    'objects broken',
    `Object.prototype.get = Object.prototype.set = Object.prototype.value = () => { throw 1 }; for (const k of Object.getOwnPropertyNames(Object)) try { Object[k] = null } catch {}`,
  ),
  poisons(
    'promises broken',
    `Promise.prototype.then = Promise.prototype.catch = () => { throw 1 }; Promise.resolve = Promise.reject = Promise.all = null; globalThis.Promise = null`,
  ),
  poisons(
    'functions broken',
    `Function.prototype.call = Function.prototype.apply = Function.prototype.bind = () => { throw 1 }; Reflect.apply = Reflect.construct = null; delete Function.prototype[Symbol.hasInstance]`,
  ),
  poisons(
    'strings and numbers broken',
    `for (const p of [String.prototype, Number.prototype, RegExp.prototype, Symbol.prototype, BigInt.prototype]) for (const k of Object.getOwnPropertyNames(p)) try { p[k] = () => { throw 1 } } catch {}`,
  ),
  poisons(
    'typed arrays broken',
    `const p = Object.getPrototypeOf(Uint8Array.prototype); for (const o of [p, ArrayBuffer.prototype, DataView.prototype]) for (const k of Object.getOwnPropertyNames(o)) try { Object.defineProperty(o, k, { get() { throw 1 } }) } catch {}`,
  ),
  poisons('every global gone', `for (const k of Object.getOwnPropertyNames(globalThis)) try { delete globalThis[k] } catch {}`),
  poisons(
    'every global frozen',
    `const freeze = (o) => { try { Object.freeze(o) } catch {} }; for (const k of Object.getOwnPropertyNames(globalThis)) { freeze(globalThis[k]?.prototype); freeze(globalThis[k]) }`,
  ),
  poisons(
    'Web APIs replaced',
    `for (const C of [Request, Response, Headers, ReadableStream]) for (const k of Object.getOwnPropertyNames(C.prototype)) try { Object.defineProperty(C.prototype, k, { get() { return () => { throw 1 } }, configurable: true }) } catch {}; Object.defineProperty(Request.prototype, 'text', { value: async () => 'text' }); Object.defineProperty(Request.prototype, 'method', { get: () => 'POST' })`,
  ),
]
