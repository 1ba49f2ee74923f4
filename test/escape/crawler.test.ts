import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { createContext, runInContext } from 'node:vm'
import { createInlineFactory } from '../../sandbox/inline.ts'
import { handler, Probe } from '../sandbox/probe.ts'

const crawler = readFileSync(`${import.meta.dirname}/crawl.guest.js`, 'utf8')

/** Called with every function that the walk finds: as function, as method, as constructor. */
const ODD = `[[], [null], [1], ['x'], [{}], [() => {}], [Symbol.iterator], ['http://192.0.2.1:1/'], [new Uint8Array(4)], [{ then() {} }]]`
/** They would end the walk, or the walk would never end. */
const SPARED = `new Set([WebAssembly.Memory.prototype.grow, String.prototype.repeat, String.prototype.padStart, String.prototype.padEnd, Array.prototype.fill, Error.captureStackTrace, Object.freeze, Object.seal, Object.preventExtensions, Object.setPrototypeOf, Object.defineProperty, Object.defineProperties, Object.assign, Reflect.set, Reflect.defineProperty, Reflect.setPrototypeOf, Reflect.deleteProperty, Reflect.preventExtensions, setInterval, Atomics.pause, Object.prototype.__defineGetter__, Object.prototype.__defineSetter__, Object.getOwnPropertyDescriptor(Object.prototype, '__proto__').set])`

test('nothing that tenant code can reach is of the host', { timeout: 60_000 }, async (context) => {
  const factory = await createInlineFactory({
    egress: { allow: [], deny: [] },
    tainted: (taint) => assert.fail(JSON.stringify(taint)),
  })
  const probe = new Probe(
    factory,
    handler(
      `
      add(globalThis, 'globalThis'); add(topThis, 'this'); add(request, 'request'); add(env, 'env'); add(ctx, 'ctx'); add(this, 'handler'); add(arguments, 'arguments')
      add(globalThis.__skep_modules, 'modules')
      for (const [name, value] of [['generator', function* () {}], ['async', async () => {}], ['async generator', async function* () {}], ['regexp', /x/], ['error', new Error('x')], ['iterator', [][Symbol.iterator]()], ['map iterator', new Map().entries()], ['matchAll', 'x'.matchAll(/x/g)], ['segments', new Intl.Segmenter().segment('x')], ['template', ((t) => t)\`x\`], ['float16', typeof Float16Array === 'undefined' ? null : new Float16Array(1)]]) add(value, name)
      // Call sites of a stack that goes through the prelude, the host's entry, and builtins that call back.
      const prepare = Error.prepareStackTrace
      Error.stackTraceLimit = 200
      Error.prepareStackTrace = (error, sites) => { add(sites, 'sites'); for (const site of sites) for (const name of Object.getOwnPropertyNames(Object.getPrototypeOf(site))) attempt(() => site[name](), 'site.' + name); return '' }
      const trace = () => { void new Error('x').stack; return 1 }
      trace(); [2, 1].sort(trace); 'x'.replace(/x/, trace); await null; trace(); setTimeout(trace, 0); queueMicrotask(trace); structuredClone({ get a() { return trace() } })
      new Headers({ a: { toString: () => (trace(), 'b') } }); const listening = new EventTarget(); listening.addEventListener('x', (e) => { add(e, 'event'); trace() }); listening.dispatchEvent(new Event('x'))
      const stream = new ReadableStream({ start(c) { add(c, 'controller'); trace() }, pull(c) { add(c, 'controller'); c.enqueue(new Uint8Array(1)); c.close(); trace() } }); await new Response(stream).text()
      console.log({ get [Symbol.toStringTag]() { trace(); return 'x' } })
      function callers() { for (const read of [() => callers.caller, () => callers.arguments, () => arguments.callee.caller]) attempt(read, 'caller') }
      callers(); [1].forEach(callers); setTimeout(callers, 0)
      await new Promise((r) => setTimeout(r, 5))
      Error.prepareStackTrace = prepare
      // Errors and results of everything that talks to the host.
      for (const url of ['http://192.0.2.1:1/', 'http://127.0.0.1:1/', 'ftp://x', 'http://[::1]:1/', 'http://x.localhost:1/', {}, null]) attempt(() => fetch(url), 'fetch')
      attempt(() => fetch('http://192.0.2.1:1/', { method: 'POST', body: new ReadableStream({ pull() { throw new Error('x') } }) }), 'fetch upload')
      attempt(() => request.clone().json(), 'json'); attempt(() => request.clone().body.getReader().read(), 'read'); attempt(() => request.signal, 'signal')
      attempt(() => ctx.waitUntil(Promise.resolve()), 'waitUntil'); attempt(() => import('x'), 'import'); attempt(() => crypto.getRandomValues(new Uint8Array(1)), 'random')
      drain()
      Error.stackTraceLimit = 2; const spared = ${SPARED}, odd = ${ODD}
      const mine = new Set([add, report, inspect, expand, attempt, drain, isPlainError, isObject, trace, callers, this.fetch])
      const functions = [...seen].filter((value) => typeof value === 'function' && !spared.has(value) && !mine.has(value) && !isTenants(value))
      for (const f of functions) for (const given of odd) {
        attempt(() => own.Reflect.apply(f, undefined, given), f.name + '()')
        attempt(() => own.Reflect.apply(f, request, given), f.name + ' of request')
        attempt(() => own.Reflect.construct(f, given), 'new ' + f.name)
      }
      await new own.Promise((r) => keptTimer(r, 50))
      drain()
      return new TheResponse(own.stringify({ visited: seen.size + counted, calls, found, kinds: Object.keys(kinds).length }))`,
      `const isTenants = (f) => { try { return /attempt\\(|trace\\(|add\\(|drain\\(/.test(own.Function.prototype.toString.call(f)) } catch { return false } }; const TheResponse = Response, keptTimer = setTimeout; const topThis = this; ${crawler}`,
    ),
    { limits: { cpuMs: 30_000, memoryMb: 256 }, bundle: { modules: { 'a.bin': Buffer.from('binary') } }, env: { A: 'b' } },
  )
  await probe.sandbox.ready
  const ended = probe.failure().then((failure) => assert.fail(`${failure.code}: ${failure.message}`))
  const answer = JSON.parse(await Promise.race([probe.get('/', { body: '{"a":1}' }), ended])) as Record<string, number> & {
    found: string[]
  }
  context.diagnostic(`${answer.visited} objects of ${answer.kinds} kinds visited, ${answer.calls} calls`)
  assert.deepEqual(answer.found, [])
  assert.ok(answer.visited! > 5_000, `${answer.visited} objects`)
  assert.ok(answer.calls! > 20_000, `${answer.calls} calls`)
  await factory.close()
})

test('the crawler does find what is of a host', () => {
  const context = createContext({ host: { nested: [{ applySync() {} }] }, shared: new Uint8Array(new SharedArrayBuffer(1)) })
  runInContext(`${crawler}; add(host, 'host'); drain()`, context)
  const found = runInContext('found.join()', context) as string
  assert.match(found, /prototype chain of another realm: host/)
  assert.match(found, /a member applySync: host.nested.0/)
  const other = createContext({})
  runInContext(`${crawler}; add(new Uint8Array(new SharedArrayBuffer(1)), 'shared'); drain()`, other)
  assert.match(runInContext('found.join()', other) as string, /a view of shared memory: shared/)
})
