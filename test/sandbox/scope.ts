import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Emit } from '../../sandbox/protocol.ts'
import type { SandboxFactory } from '../../sandbox/sandbox.ts'
import { handler, Probe } from './probe.ts'
import type { ProbeOptions } from './probe.ts'

/** `(module (func (export "f") (result i32) i32.const 42))` */
const WASM = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 127, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0, 10, 6, 1, 4, 0, 65, 42, 11,
])

/** What a function's code finds around it, and what it can break. */
export function scopeCases(factory: () => SandboxFactory): void {
  const withProbe = (name: string, code: string, run: (probe: Probe) => Promise<void>, options?: ProbeOptions) =>
    test(name, async () => {
      const probe = new Probe(factory(), code, options)
      await probe.sandbox.ready
      await run(probe)
      assert.deepEqual(probe.failures, [])
      probe.sandbox.dispose()
    })

  for (const modules of [{}, { 'a.wasm': WASM }]) {
    const kind = 'a.wasm' in modules ? 'with wasm' : 'without wasm'
    const options = { bundle: { modules: modules as Record<string, Uint8Array> } }

    withProbe(
      `interfaces have their own names, ${kind}`,
      handler(`
      const wrong = Object.getOwnPropertyNames(globalThis).filter((name) => {
        const value = globalThis[name]
        if (typeof value !== 'function' || !/^[A-Z]/.test(name)) return false
        const tag = value.prototype?.[Symbol.toStringTag]
        return value.name !== name || (typeof tag === 'string' && tag !== name)
      })
      return Response.json(wrong)`),
      async (probe) => assert.equal(await probe.get(), '[]'),
    )

    withProbe(
      `no host is in reach, ${kind}`,
      handler(`
      const names = ['process', 'require', 'global', 'Buffer', '__skep', 'module', 'ivm', '_ivm', 'Deno', 'Bun', 'SharedArrayBuffer', 'setImmediate', 'gc']
      const found = names.filter((name) => typeof globalThis[name] !== 'undefined')
      if (typeof Atomics === 'object' && (Atomics.wait || Atomics.waitAsync)) found.push('wait')
      for (const run of [() => eval('1'), () => new Function('return 1')(), () => (async () => {}).constructor('1')(), () => setTimeout('1')]) {
        try { run(); found.push(String(run)) } catch {}
      }
      const stack = new Error().stack
      if (/node:|isolated/.test(stack)) found.push(stack)
      return Response.json(found)`),
      async (probe) => assert.equal(await probe.get(), '[]'),
      options,
    )

    withProbe(
      `the clock stands still while code runs, in whole ms, ${kind}`,
      handler(`
      const before = [Date.now(), performance.now(), +new Date()]
      for (let i = 0; i < 3e6; i++) Math.sqrt(i)
      const after = [Date.now(), performance.now(), +new Date()]
      await new Promise((r) => setTimeout(r, 20))
      return Response.json({ same: String(before) === String(after), whole: before.every(Number.isInteger), later: Date.now() - before[0], date: before[0] })`),
      async (probe) => {
        const { same, whole, later, date } = JSON.parse(await probe.get()) as {
          same: boolean
          whole: boolean
          later: number
          date: number
        }
        assert.ok(same && whole)
        assert.ok(later >= 19, String(later))
        assert.ok(Math.abs(date - Date.now()) < 30_000)
      },
      options,
    )
  }

  withProbe(
    'a wasm module',
    handler(`
    const { exports } = new WebAssembly.Instance(__skep_modules['a.wasm'])
    return new Response(String(exports.f()))`),
    async (probe) => assert.equal(await probe.get(), '42'),
    { bundle: { modules: { 'a.wasm': WASM } } },
  )

  withProbe(
    'a binary module',
    handler(`return new Response(__skep_modules['a.bin'])`),
    async (probe) => assert.equal(await probe.get(), 'bin'),
    { bundle: { modules: { 'a.bin': Buffer.from('bin') } } },
  )

  test('random numbers differ from sandbox to sandbox', async () => {
    const body =
      'return Response.json([Math.random(), crypto.randomUUID(), [...crypto.getRandomValues(new Uint8Array(8))].join()])'
    const probes = [1, 2, 3].map(() => new Probe(factory(), handler(body)))
    const seen = new Set<unknown>()
    for (const probe of probes) {
      await probe.sandbox.ready
      for (const value of JSON.parse(await probe.get()) as unknown[]) seen.add(value)
      probe.sandbox.dispose()
    }
    assert.equal(seen.size, 9)
  })

  withProbe(
    'timers: order, arguments, clearing, repeating',
    handler(`
    const seen = []
    setTimeout((...rest) => seen.push(...rest), 1, 'a', 'b')
    clearTimeout(setTimeout(() => seen.push('never'), 1))
    await new Promise((resolve) => { let n = 0; const id = setInterval(() => { seen.push(n); if (++n === 3) { clearInterval(id); resolve() } }, 2) })
    setTimeout(() => { throw new Error('in a timer') }, 0)
    await new Promise((r) => setTimeout(r, 10))
    return Response.json(seen)`),
    async (probe) => {
      assert.deepEqual(JSON.parse(await probe.get()), ['a', 'b', 0, 1, 2])
      assert.ok(probe.logs().some((line) => /^error: Uncaught Error: in a timer/.test(line)))
    },
  )

  withProbe(
    'console lines carry their level and their event',
    handler(`
    console.debug('d'); console.log('l %s', 1); console.info({ a: 1 }); console.warn('w'); console.error(new Error('e'))
    await null
    console.log('after')
    return new Response()`),
    async (probe) => {
      const event = probe.send()
      await probe.done(event)
      const lines = probe.logs(event)
      assert.deepEqual(lines.slice(0, 4), ['debug: d', 'info: l 1', 'info: { a: 1 }', 'warn: w'])
      assert.match(lines[4]!, /^error: Error: e\n +at /)
      assert.equal(lines[5], 'info: after')
      // Two at once: known while the handlers run, and again once one of them is left.
      const both = [probe.newEvent(), probe.newEvent()]
      for (const id of both) probe.send('/', { event: id })
      await Promise.all(both.map((id) => probe.done(id)))
      for (const id of both) assert.ok(probe.logs(id).length >= 5)
    },
  )

  const poisons: Record<string, string> = {
    'methods of Array': `for (const k of ['push', 'pop', 'shift', 'slice', 'splice', 'map', 'join', 'sort', Symbol.iterator]) Array.prototype[k] = () => { throw 1 }`,
    'setters of Object': `for (const k of ['resolve', 'reject', 'status', 'headers', 'body', 'event', 'pending', 'then', 'incoming', 'type', 'callback', 'ended']) Object.defineProperty(Object.prototype, k, { set() { throw new Error('set ' + k) }, get() { return undefined }, configurable: true })`,
    'get and set of Object': `Object.prototype.get = Object.prototype.set = () => { throw 1 }`,
    promises: `Promise.prototype.then = Promise.prototype.catch = Promise.prototype.finally = () => { throw 1 }; Promise.resolve = Promise.reject = Promise.all = null; globalThis.Promise = null`,
    functions: `Function.prototype.call = Function.prototype.apply = Function.prototype.bind = () => { throw 1 }; Reflect.apply = null`,
    globals: `for (const k of ['Response', 'Request', 'Headers', 'URL', 'Error', 'TypeError', 'Uint8Array', 'Map', 'Object', 'Symbol', 'JSON', 'Date', 'String']) { if (k !== 'Response') delete globalThis[k] }`,
    'regular expressions and strings': `RegExp.prototype.exec = RegExp.prototype.test = String.prototype.slice = String.prototype.toLowerCase = () => { throw 1 }`,
    'typed arrays': `const p = Object.getPrototypeOf(Uint8Array.prototype); for (const k of ['set', 'slice', 'subarray', 'fill', 'byteLength', 'length', 'buffer']) Object.defineProperty(p, k, { get() { throw 1 } })`,
  }
  for (const [what, poison] of Object.entries(poisons)) {
    withProbe(
      `it goes on after the tenant has replaced ${what}`,
      handler(
        `
      if (request.url.endsWith('/poison')) { const ok = new Response('poisoned'); ${poison}; return ok }
      if (request.url.endsWith('/throw')) throw new RangeError('thrown')
      if (request.url.endsWith('/timer')) await new TruePromise((r) => setTimeout(r, 1))
      console.log('line')
      return new Response((await request.text()) + request.method + request.headers.get('a'), { headers: { b: 'c' } })`,
        'const TruePromise = Promise, RangeError = globalThis.RangeError, Response = globalThis.Response',
      ),
      async (probe) => {
        assert.equal(await probe.get('/poison'), 'poisoned')
        for (const path of ['/', '/', '/timer']) {
          const event = probe.send(path, { body: 'text', headers: ['a', '1'] })
          const answer = await probe.answer(event)
          assert.equal(answer.body, 'textPOST1')
          assert.deepEqual(answer.headers, ['b', 'c', 'content-type', 'text/plain;charset=UTF-8'])
          await probe.done(event)
          assert.equal(probe.of(Emit.log, event).length, 1)
        }
        await assert.rejects(probe.answer(probe.send('/throw')), /function_threw: thrown/)
      },
    )
  }
}
