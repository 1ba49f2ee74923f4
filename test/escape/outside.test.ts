import assert from 'node:assert/strict'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { after, before, suite, test } from 'node:test'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { createInlineFactory } from '../../sandbox/inline.ts'
import type { SandboxFactory, Taint } from '../../sandbox/sandbox.ts'
import { handler, Probe } from '../sandbox/probe.ts'

const FOREVER = 'for (;;);'
const COLLECT = `for (let i = 0; i < 3; i++) { let junk = []; for (let k = 0; k < 6e5; k++) junk.push({ k }); junk = null; await new Promise((r) => setTimeout(r, 1)) }`

/**
 * Every way that is known in which V8, or isolated-vm on the host's behalf, runs tenant code when no handler is running.
 * In each it loops for ever; none may run without a limit, or on the thread of the host.
 */
const CALLBACKS: Record<string, { code: string; top?: string }> = {
  'a getter of an unhandled rejection': { code: `Promise.reject({ get message() { ${FOREVER} } })` },
  'toString of an unhandled rejection’s message': { code: `Promise.reject({ message: { toString() { ${FOREVER} } } })` },
  'toPrimitive of an unhandled rejection’s stack': {
    code: `Promise.reject({ stack: { [Symbol.toPrimitive]() { ${FOREVER} } } })`,
  },
  'the name of an unhandled rejection': { code: `Promise.reject({ message: 'm', get name() { ${FOREVER} } })` },
  'prepareStackTrace of an unhandled rejection': {
    code: `Error.prepareStackTrace = () => { ${FOREVER} }; Promise.reject(new Error('x'))`,
  },
  'a microtask that a rejection’s getter leaves': {
    code: `Promise.reject({ get message() { queueMicrotask(() => { ${FOREVER} }); return 'm' } })`,
  },
  'a rejection that a rejection’s getter leaves': {
    code: `Promise.reject({ get message() { Promise.reject({ get message() { ${FOREVER} } }); return 'm' } })`,
  },
  'rejections without end': {
    code: `(function again() { Promise.reject({ get message() { again(); return 'm' } }) })(); await forever`,
  },
  'microtasks of rejections without end': {
    code: `(function again() { Promise.reject({ get message() { queueMicrotask(again); return 'm' } }) })(); await forever`,
  },
  'a finalizer': {
    code: `globalThis.registry = new FinalizationRegistry(() => { ${FOREVER} }); for (let i = 0; i < 100; i++) registry.register({}, i); ${COLLECT} await forever`,
  },
  'a finalizer of a subclass': {
    code: `globalThis.registry = new (class extends FinalizationRegistry {})(() => { ${FOREVER} }); for (let i = 0; i < 100; i++) registry.register({}, i); ${COLLECT} await forever`,
  },
  'a thrown object’s getter': { code: `throw { get message() { ${FOREVER} } }` },
  'a thrown object’s stack': { code: `throw { get stack() { ${FOREVER} } }` },
  'a thrown proxy': {
    code: `throw new Proxy({}, { get() { ${FOREVER} }, getPrototypeOf() { ${FOREVER} }, has() { ${FOREVER} } })`,
  },
  'prepareStackTrace of a thrown error': { code: `Error.prepareStackTrace = () => { ${FOREVER} }; throw new Error('x')` },
  'a thenable that is returned': { code: `return { then() { ${FOREVER} } }` },
  'a thenable given to waitUntil': { code: `ctx.waitUntil({ get then() { ${FOREVER} } })` },
  'the proxy of a response': {
    code: `return new Proxy(new Response('x'), { get() { ${FOREVER} }, getPrototypeOf() { ${FOREVER} } })`,
  },
  'then on Object.prototype': {
    code: `Object.defineProperty(Object.prototype, 'then', { get() { ${FOREVER} } }); await request.json().catch(() => {})`,
  },
  'Symbol.dispose': { code: `const s = new DisposableStack(); s.use({ [Symbol.dispose]() { ${FOREVER} } }); s.dispose()` },
  toJSON: { code: `Response.json({ toJSON() { ${FOREVER} } })` },
  'a custom inspection': { code: `console.log(new Proxy({}, { ownKeys() { ${FOREVER} } }))` },
  'a stream’s pull': { code: `return new Response(new ReadableStream({ pull() { ${FOREVER} } }, { highWaterMark: 0 }))` },
  'a stream’s size': {
    code: `return new Response(new ReadableStream({ pull(c) { c.enqueue(new Uint8Array(1)) } }, { size() { ${FOREVER} } }))`,
  },
  'an abort listener': { code: `const c = new AbortController(); c.signal.onabort = () => { ${FOREVER} }; c.abort()` },
  'a timer': { code: `setTimeout(() => { ${FOREVER} }, 1); await forever` },
  reportError: { code: `reportError({ get stack() { ${FOREVER} } })` },
  'a getter of the exports’ handler': {
    code: '',
    top: `const bad = { get default() { ${FOREVER} } }; if (globalThis.never) return bad`,
  },
  'the start of a wasm instance’s imports': {
    code: `new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array([0,97,115,109,1,0,0,0,1,4,1,96,0,0,2,7,1,1,97,1,98,0,0])), { get a() { ${FOREVER} } })`,
  },
}

/** The same at the top level of a bundle. */
const STARTS: Record<string, string> = {
  'a loop': FOREVER,
  'a thrown getter': `throw { get message() { ${FOREVER} } }`,
  prepareStackTrace: `Error.prepareStackTrace = () => { ${FOREVER} }; throw new Error('x')`,
  'an unhandled rejection': `Promise.reject({ get message() { ${FOREVER} } })`,
  'a default export by getter': `return { get default() { ${FOREVER} } }`,
  'a handler by getter': `return { default: { get fetch() { ${FOREVER} } } }`,
  'exports by proxy': `return new Proxy({}, { get() { ${FOREVER} } })`,
}

suite('tenant code outside of a handler', { timeout: 170_000 }, () => {
  let factory: SandboxFactory
  const taints: Taint[] = []
  const delay = monitorEventLoopDelay({ resolution: 5 })
  before(async () => {
    factory = await createInlineFactory({ egress: { allow: [], deny: [] }, tainted: (taint) => taints.push(taint) })
    delay.enable()
  })
  after(() => factory.close())
  const limits = { cpuMs: 60, startMs: 60, wallMs: 20_000 }

  suite('loops', { concurrency: 4 }, () => {
    for (const [what, { code, top }] of Object.entries(CALLBACKS)) {
      test(`${what} that loops is stopped`, { timeout: 30_000 }, async () => {
        const body = `const forever = new Promise(() => {}); ${code}; return new Response('x')`
        const probe = new Probe(factory, handler(body, top), { limits })
        await probe.sandbox.ready
        const event = probe.send('/', { body: '{}' })
        if (top !== undefined) {
          assert.equal((await probe.answer(event)).body, 'x')
          probe.sandbox.dispose()
          return
        }
        // Its next entry, if it gets that far, is what is left behind.
        void probe.done(event).then(() => probe.send('/again', { body: '{}' }))
        const failure = await probe.failure()
        assert.equal(failure.code, 'cpu_exceeded')
      })
    }

    for (const [what, code] of Object.entries(STARTS)) {
      test(`${what} at the start is stopped`, { timeout: 30_000 }, async () => {
        const probe = new Probe(factory, handler(`return new Response('x')`, code), { limits })
        await assert.rejects(probe.sandbox.ready, { code: 'start_failed' })
      })
    }
  })

  test('the thread of the host was free all the time, and no process is lost', async () => {
    await new Promise((resolve) => setTimeout(resolve, 3_000))
    assert.deepEqual(taints, [])
    // One of these on the host's thread would hold it for ever.
    assert.ok(delay.max / 1e6 < 2_000, `it was held up for ${delay.max / 1e6} ms`)
  })

  test('what cannot be stopped even so costs a process, not a host: the rest of it goes on', { timeout: 60_000 }, async () => {
    const child = promisify(execFile)(process.execPath, ['--no-node-snapshot', `${import.meta.dirname}/unstoppable.child.ts`])
    const { stdout } = await child.catch((error: { stdout: string }) => error)
    const { codes, tainted, answers, heldUpMs } = JSON.parse(stdout) as Record<string, unknown>
    assert.deepEqual({ codes, tainted, answers }, { codes: ['cpu_exceeded', 'start_failed'], tainted: 2, answers: 'still here' })
    assert.ok((heldUpMs as number) < 2_000, `it was held up for ${heldUpMs as number} ms`)
  })

  test('finalizers run on the budget of a later entry, once each', async () => {
    const body = `
      if (globalThis.registry === undefined) {
        globalThis.heard = []
        globalThis.registry = new FinalizationRegistry((held) => { heard.push(held); if (held === 3) throw new Error('in a finalizer') })
        for (let i = 0; i < 10; i++) registry.register({}, i)
      }
      ${COLLECT}
      return Response.json(heard.sort())`
    const probe = new Probe(factory, handler(body), { limits: { cpuMs: 2_000 } })
    await probe.sandbox.ready
    let heard: number[] = []
    for (let i = 0; i < 20 && heard.length < 10; i++) heard = JSON.parse(await probe.get()) as number[]
    assert.deepEqual(heard, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    assert.ok(probe.logs().some((line) => line.includes('in a finalizer')))
    probe.sandbox.dispose()
  })

  test('an unhandled rejection is logged, and the sandbox goes on', async () => {
    const probe = new Probe(
      factory,
      handler(`Promise.reject(new Error('nobody heard ' + request.url)); return new Response('x')`),
    )
    await probe.sandbox.ready
    for (const path of ['/a', '/b']) assert.equal(await probe.get(path), 'x')
    await probe.until(() => probe.logs().filter((line) => line.includes('nobody heard')).length === 2)
    assert.deepEqual(probe.failures, [])
    probe.sandbox.dispose()
  })
})
