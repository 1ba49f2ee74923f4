import { UNPRINTABLE } from './advisory.ts'
import type { Advisory } from './advisory.ts'

const vm2 = (ids: string[], how: string, code: string, looks = 1): Advisory => ({ ids, package: 'vm2', how, code, looks })

/** Of vm2: the host's objects are behind proxies in the same heap there, and one that slips through is the host. */
export const VM2_ADVISORIES: Advisory[] = [
  vm2(
    ['CVE-2022-36067', 'GHSA-mrgp-mrhc-5jrq'],
    'a replaced globalThis.Error gets the call sites of the host',
    `const Native = Error
     globalThis.Error = { prepareStackTrace: (_, sites) => sites }
     Native.prepareStackTrace = (_, sites) => sites
     const sites = new Native('x').stack
     for (const site of sites) { loot(site); loot(site.getThis?.()); loot(site.getFunction?.()) }`,
    3,
  ),
  vm2(
    ['CVE-2023-29017', 'GHSA-7jxr-cg7f-gpgv'],
    'prepareStackTrace of an unhandled asynchronous error',
    `Error.prepareStackTrace = (error, sites) => { loot(error); for (const s of sites) { loot(s); loot(s.getThis()); loot(s.getFunction()) } return '' }
     const failed = (async () => { null.x })()
     await lootOf(() => failed)
     await lootOf(async () => (await failed.catch((e) => e)).stack)`,
    3,
  ),
  vm2(
    ['CVE-2023-29199', 'GHSA-xj72-wvfv-8985'],
    'a caught exception that the source transformer did not see',
    `let over = 0; const deep = () => { try { deep() } catch (e) { if (over++ < 20) loot(e); throw e } }
     await lootOf(() => deep())
     await lootOf(() => { const p = new Proxy({}, { getPrototypeOf() { throw new Error().stack.match } }); p instanceof Object })`,
    2,
  ),
  vm2(
    ['CVE-2023-30547', 'GHSA-ch3r-j5x3-6q2m'],
    'a thrown proxy whose getPrototypeOf trap overflows the stack',
    `const over = () => { over(); return 1 }
     await lootOf(() => { throw new Proxy({}, { getPrototypeOf: over }) })
     try { new Proxy({}, { getPrototypeOf: over }) instanceof Object } catch (e) { loot(e) }`,
    2,
  ),
  vm2(
    ['CVE-2023-32314', 'GHSA-whpj-8f3w-67p5'],
    'an object that the Proxy specification makes: arguments lists and descriptors in traps',
    `const got = []
     const spy = new Proxy(function () {}, new Proxy({}, { get: (_, trap) => (...given) => { if (got.length < 100) got.push(...given); return Reflect[trap](...given) } }))
     spy.call({}, 1); new spy(1); Object.defineProperty(spy, 'a', { value: 1, configurable: true })
     await lootOf(() => Object.getOwnPropertyDescriptors(spy).a); await lootOf(() => { const e = new Error(); Object.setPrototypeOf(e, spy); return e.stack })
     for (const value of got) if (value !== spy) { loot(value); if (Array.isArray(value)) value.forEach(loot) }`,
    8,
  ),
  vm2(
    ['CVE-2023-32313', 'GHSA-p5gc-c584-jj6v'],
    'console.log of the host reads an inspect method of the guest',
    `let called = []
     const hook = function (...given) { called.push(this, ...given); return '' }
     const symbol = Symbol.for('nodejs.util.inspect.custom')
     console.log({ [symbol]: hook, inspect: hook, toString: hook, [Symbol.toPrimitive]: hook })
     console.error(Object.assign(new Error('x'), { [symbol]: hook, inspect: hook, toString: hook }))
     called.forEach(loot); loot(console.log)`,
  ),
  vm2(
    ['CVE-2023-37466', 'GHSA-cchq-frgv-rjh5'],
    'Promise[@@species] of a rejected host promise',
    `${UNPRINTABLE}
     const p = (async () => unprintable())()
     p.constructor = { [Symbol.species]: class { constructor(executor) { executor((v) => loot(v), (e) => loot(e)) } } }
     await lootOf(() => p.then()); await null; await null
     const f = fetch('http://x.localhost:1/')
     f.constructor = p.constructor
     await lootOf(() => f.then(() => {}, loot)); await lootOf(() => fetch('bad url'))`,
    2,
  ),
  vm2(
    ['CVE-2023-37903', 'GHSA-g644-9gfx-q4q4'],
    'an inspect method called with the host’s inspect function by WebAssembly.compileStreaming',
    `const given = []
     const hooked = { [Symbol.for('nodejs.util.inspect.custom')]: (...all) => given.push(...all), valueOf: undefined, constructor: undefined }
     await lootOf(() => WebAssembly.compileStreaming(hooked)); await lootOf(() => WebAssembly.instantiateStreaming(hooked, {}))
     given.forEach(loot)`,
    2,
  ),
  vm2(
    ['CVE-2026-22709', 'GHSA-99p7-6v5w-7xg8'],
    'a promise callback that is not sanitised because then is called on another promise',
    `${UNPRINTABLE}
     await lootOf(() => Promise.prototype.then.call((async () => unprintable())(), loot, loot))
     await lootOf(() => Reflect.apply(Promise.prototype.catch, (async () => unprintable())(), [loot]))
     await lootOf(() => new Promise((_, no) => { no(new Error('x')); unprintable() }))`,
    3,
  ),
  vm2(
    ['CVE-2026-24120', 'GHSA-qvjj-29qf-hp7p'],
    'Promise species by a getter that changes its mind',
    `${UNPRINTABLE}
     class Fake { constructor(executor) { executor(loot, loot) } }
     const p = (async () => unprintable())()
     let first = true
     Object.defineProperty(p, 'constructor', { get: () => (first ? ((first = false), Promise) : { [Symbol.species]: Fake }) })
     await lootOf(() => p.then(loot, loot))
     for (const name of ['all', 'race', 'any', 'allSettled', 'try']) {
       Fake.resolve = () => {}
       await lootOf(() => Promise[name].call(Fake, name === 'try' ? unprintable : { [Symbol.iterator]: unprintable }))
     }`,
    6,
  ),
  vm2(
    ['GHSA-grj5-jjm8-h35p'],
    '__lookupGetter__ of __proto__ applied through borrowed functions',
    `const lookup = {}.__lookupGetter__
     const apply = TextEncoder.apply
     const proto = apply.apply(lookup, [TextEncoder, ['__proto__']])
     let at = new TextEncoder().encode('x')
     while (at !== null && at !== undefined) { loot(at); at = proto.call(at) }
     loot(Object.getOwnPropertyDescriptor(proto.call(apply), 'constructor').value)`,
    4,
  ),
  vm2(
    ['GHSA-v37h-5mfm-c47c'],
    'inspect with showProxy hands the handler out',
    `const hits = []
     const target = new Proxy({ a: 1 }, { get: (t, k, r) => { hits.push(t, r); return t[k] }, ownKeys: (t) => (hits.push(t), Reflect.ownKeys(t)), getOwnPropertyDescriptor: (t, k) => (hits.push(t), Reflect.getOwnPropertyDescriptor(t, k)) })
     console.log('%o %O %j', target, target, target); console.table([target])
     hits.forEach(loot)`,
    2,
  ),
  vm2(
    ['CVE-2026-26332', 'GHSA-55hx-c926-fr95'],
    'SuppressedError carries a host error',
    `${UNPRINTABLE}
     await lootOf(() => { const stack = new DisposableStack(); stack.defer(() => { throw null }); stack.defer(unprintable); stack.dispose() })
     await lootOf(async () => { const stack = new AsyncDisposableStack(); stack.defer(async () => { throw null }); stack.defer(async () => unprintable()); await stack.disposeAsync() })`,
    2,
  ),
  vm2(
    ['CVE-2026-26956', 'GHSA-ffh4-j6h5-pg66'],
    'WebAssembly catches a JavaScript exception by JSTag, where no handler looks at it',
    `${UNPRINTABLE}
     const bytes = new Uint8Array([0,97,115,109,1,0,0,0,1,12,3,96,0,0,96,0,1,111,96,1,111,0,2,25,2,3,101,110,118,7,116,114,105,103,103,101,114,0,0,2,106,115,3,116,97,103,4,0,2,3,2,1,1,7,15,1,11,99,97,116,99,104,95,101,114,114,111,114,0,1,10,18,1,16,0,2,111,31,64,1,0,0,0,16,0,0,11,0,11,11])
     const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { trigger: () => { unprintable(); return null.x } }, js: { tag: WebAssembly.JSTag } })
     const caught = instance.exports.catch_error()
     if (!(caught instanceof TypeError)) escaped.push('not a TypeError of this realm')
     loot(caught)`,
  ),
  vm2(
    ['CVE-2026-43997', 'GHSA-47x8-96vw-5wg6'],
    'registered symbols of the host, found as keys of its objects',
    `const symbols = new Set()
     for (const value of [globalThis, Request.prototype, Response.prototype, request, ctx, new URL('http://a'), new Headers(), console, crypto, ReadableStream.prototype])
       for (let at = value; at !== null; at = Object.getPrototypeOf(at)) for (const key of Reflect.ownKeys(at)) if (typeof key === 'symbol') symbols.add(key)
     for (const symbol of symbols) { loot(symbol); if (/nodejs|isolated|ivm/.test(symbol.description)) escaped.push(String(symbol)) }`,
    3,
  ),
  vm2(
    ['GHSA-qcp4-v2jj-fjx8'],
    'a symbol of the host extracted by spread, and a trap called with a forged target',
    `await lootOf(() => { const { ...all } = Request.prototype; return all })
     for (const d of Object.values(Object.getOwnPropertyDescriptors(Request.prototype))) loot(d.get ?? d.value)
     await lootOf(() => Object.assign(new Proxy({}, { set: (_, k, v) => { loot(v); return true } }), TextDecoder.prototype, Headers.prototype))
     const method = Object.getOwnPropertyDescriptor(Request.prototype, 'headers').get
     await lootOf(() => method.call(Request)); await lootOf(() => method.call(Object.prototype))`,
    3,
  ),
  vm2(
    ['CVE-2026-47210', 'GHSA-6j2x-vhqr-qr7q'],
    'a promise of WebAssembly.promising, through finally and species',
    `if (WebAssembly.promising || WebAssembly.Suspending) escaped.push('JSPI is there')
     await lootOf(() => WebAssembly.promising(() => {}))`,
  ),
  vm2(
    ['CVE-2026-92956'],
    'the rejection of WebAssembly.compileStreaming is an error of the host',
    `class Fake { constructor(executor) { executor(loot, loot) } static get [Symbol.species]() { return Fake } }
     for (const f of ['compileStreaming', 'instantiateStreaming', 'compile', 'instantiate']) {
       const p = WebAssembly[f](1)
       loot(p); await lootOf(() => p)
       const q = WebAssembly[f]({}); q.catch(() => {}); q.constructor = Fake
       await lootOf(() => q.finally(() => {}))
     }`,
    8,
  ),
  vm2(
    ['CVE-2026-47686', 'GHSA-m283-3h24-438v'],
    'Error.cause of an error that the host made',
    `for (const attack of [() => fetch('http://192.0.2.1:1/'), () => fetch('http://x.localhost:1/', { signal: AbortSignal.abort() }), () => new Request('http://a', { signal: 1 }), () => structuredClone(() => {}), () => new WebAssembly.Module(new Uint8Array(3))])
       try { loot(await attack()) } catch (error) { for (let at = error, i = 0; at !== undefined && i < 5; at = at.cause, i++) loot(at) }`,
    5,
  ),
  vm2(
    ['GHSA-x965-fc75-jpqh'],
    'AggregateError holds errors of the host',
    `const error = await Promise.any([fetch('http://192.0.2.1:1/'), fetch('ftp://x'), Promise.reject(1)]).catch((e) => e)
     loot(error); error.errors.forEach(loot)`,
    3,
  ),
  vm2(
    ['CVE-2026-92937', 'GHSA-647f-g98j-qq25'],
    'call and apply of functions of the host by way of each other',
    `const call = Function.prototype.call, apply = Function.prototype.apply, bind = Function.prototype.bind
     await lootOf(() => call.call(call, fetch, globalThis, 'http://192.0.2.1:1/')); await lootOf(() => apply.apply(apply, [console.log, [null, [1]]]))
     loot(bind.call(fetch, null)); loot(call.call(bind, setTimeout, null))`,
    4,
  ),
  vm2(
    ['GHSA-vwrp-x96c-mhwq'],
    'a write to Object.prototype reaches that of the host',
    `Object.prototype.polluted = 'polluted'; Array.prototype.polluted = 'polluted'
     for (let at = request; at !== null; at = Object.getPrototypeOf(at)) at.polluted = 'polluted'
     loot(request)`,
  ),
  vm2(
    ['GHSA-9vg3-4rfj-wgcm'],
    'an object without a prototype is taken for one of the host and written through',
    `const plain = { __proto__: null }
     try { throw plain } catch (e) { e.f = TextEncoder; loot(plain.f) }
     await Promise.resolve(plain).then((e) => { loot(e); loot(e.f) })`,
    3,
  ),
  vm2(
    ['GHSA-2cm2-m3w5-gp2f', 'GHSA-wp5r-2gw5-m7q7'],
    'internal state under a name on the global object',
    `for (const key of Reflect.ownKeys(globalThis)) {
       if (/skep|ivm|vm2|internal/i.test(String(key)) && key !== '__skep_modules') escaped.push(String(key))
       loot(globalThis[key])
     }
     for (const key of ['__skep', 'VM2_INTERNAL_STATE_DO_NOT_USE_OR_PROGRAM_WILL_FAIL']) if (key in globalThis) escaped.push(key)`,
    60,
  ),
  vm2(
    ['GHSA-9qj6-qjgg-37qq'],
    'a setter for an index of Array.prototype is given the bridge’s own state',
    `const got = []
     for (const prototype of [Array.prototype, Object.prototype]) for (let i = 0; i < 12; i++)
       Object.defineProperty(prototype, i, { configurable: true, get() { return undefined }, set(value) { Object.defineProperty(got, got.length, { value, configurable: true, writable: true }) } })
     const made = new Response('x', { headers: { a: 'b' } }); made.headers.append('c', 'd'); new Headers(made.headers)
     new URL('http://a/?b=c').searchParams.append('d', 'e'); structuredClone([1, [2]]); console.log([1, { a: 2 }]); setTimeout(() => {}, 1); new AbortController().abort()
     new EventTarget().addEventListener('x', () => {}); AbortSignal.any([new AbortController().signal]); await request.clone().text()
     for (const prototype of [Array.prototype, Object.prototype]) for (let i = 0; i < 12; i++) delete prototype[i]
     loot(got); if (got.some((value) => isObject(value))) escaped.push('the prelude’s own state in a setter')`,
  ),
  vm2(
    ['CVE-2026-47131', 'GHSA-v6mx-mf47-r5wg'],
    'lookups of __proto__ called through call.call, and the TypeError of an argument that is refused',
    `const { call } = Function.prototype
     const getter = call.call({}.__lookupGetter__, TextEncoder, '__proto__'), setter = call.call({}.__lookupSetter__, TextEncoder, '__proto__')
     loot(getter); loot(setter)
     for (let at = fetch, i = 0; at !== null && i < 5; at = call.call(getter, at), i++) loot(at)
     for (const refuse of [() => setTimeout('x'), () => new Request(), () => structuredClone(), () => new TextDecoder(Symbol()), () => crypto.getRandomValues(1), () => setter.call(null, {})])
       await lootOf(() => { const e = new TypeError('x'); setter.call(e, null); return refuse() })
     for (const d of Object.values(Object.getOwnPropertyDescriptors(globalThis))) { loot(d.get); loot(d.set); loot(d.value) }`,
    100,
  ),
  vm2(
    ['GHSA-v27g-jcqj-v8rw', 'GHSA-x6m4-chr9-cg97', 'GHSA-r273-hxvj-fxhp'],
    'stack frames tell paths of the host',
    `Error.stackTraceLimit = 100
     const stacks = [new Error('x').stack]
     Error.prepareStackTrace = (_, sites) => { for (const s of sites) stacks.push(s.getFileName(), s.getEvalOrigin?.(), s.getScriptNameOrSourceURL(), s.toString()); return 'x' }
     void new Error('y').stack
     await fetch('http://192.0.2.1:1/').catch((e) => stacks.push(e.stack, e.message))
     loot(stacks)
     for (const text of stacks) if (/node:|isolated-vm|\\/(work|home|usr|root|tmp|app|opt)\\//.test(String(text))) escaped.push(text)`,
  ),
  vm2(
    ['GHSA-mpf8-4hx2-7cjg'],
    'a promise of the host settles with an object of the host',
    `for (const promise of [fetch('http://192.0.2.1:1/'), request.text(), WebAssembly.compile(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])), new Response('x').arrayBuffer(), new Response('x').body.getReader().read()])
       { loot(promise); await lootOf(() => promise) }`,
    10,
  ),
  vm2(
    ['GHSA-947f-4v7f-x2v8', 'CVE-2026-47140'],
    'a module that is missing from a list of forbidden ones',
    `for (const name of ['process', 'node:process', 'inspector/promises', 'module', 'worker_threads', 'vm', 'node:sqlite', 'fs', 'isolated-vm']) {
       await lootOf(() => import(name))
       await lootOf(() => globalThis.require(name))
     }`,
    18,
  ),
  vm2(
    ['GHSA-8hg8-63c5-gwmx'],
    'a sandbox within the sandbox has fewer limits',
    `for (const make of [() => new ShadowRealm(), () => new Compartment(), () => new Worker('data:,'), () => new Realm(), () => import('vm2'), () => new SharedWorker('data:,')]) await lootOf(make)`,
    6,
  ),
  vm2(
    ['CVE-2026-93606'],
    'then without a rejection handler passes the host’s reason to a species constructor',
    `class Thief { constructor(executor) { executor(loot, loot) } }
     for (const make of [() => fetch('http://192.0.2.1:1/'), () => WebAssembly.compile(1), () => new Response(new ReadableStream({ pull() { throw new Error('x') } })).text(), () => crypto.subtle?.digest('x') ?? fetch(1)]) {
       const p = make(); p.catch(() => {})
       try { Object.defineProperty(p, 'constructor', { value: { [Symbol.species]: Thief } }); p.then() } catch (e) { loot(e) }
       await p.catch(() => {})
     }`,
    3,
  ),
  vm2(
    ['CVE-2026-92944', 'GHSA-27g9-p43v-cw3v'],
    'finally of an async function’s promise takes a stale short cut past a replaced then',
    `const then = Promise.prototype.then; let calls = 0
     Promise.prototype.then = function (...handlers) { calls++; loot(this); return then.apply(this, handlers) }
     for (let i = 0; i < 20; i++) { const p = (async () => { null.x })(); Object.defineProperty(p, 'constructor', { value: { [Symbol.species]: class { constructor(executor) { executor(loot, loot) } } } }); try { p.finally(() => {}) } catch (e) { loot(e) } then.call(p, null, () => {}) }
     Promise.prototype.then = then`,
    20,
  ),
]
