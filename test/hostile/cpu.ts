import { handler } from './attack.ts'
import type { Attack } from './attack.ts'
import { WASM_LOOP } from './wasm.ts'

/** Code that runs for ever, in every place where a function's code can run. V8 can stop all of it. */

const spins = (name: string, body: string, more: Partial<Attack> = {}): Attack => ({
  name,
  source: handler(body),
  expect: 'cpu_exceeded',
  ...more,
})

/** An answer that had begun can only be cut; where its head had not left yet, the connection closes without a word. */
const BEGUN = ['cut', 'closed']
const START = 'The head may leave with the first chunk only.'
/** Memory may run out first where a machine is fast. */
const EITHER = ['cpu_exceeded', 'memory_exceeded'] as const

export const cpu: Attack[] = [
  spins('a loop', 'for (;;);'),
  spins('a loop after an await', 'await null; for (;;);'),
  spins('promises without end', 'for (;;) await null'),
  spins('microtasks without end', 'const again = () => queueMicrotask(again); again(); await new Promise(() => {})'),
  spins('a loop in a timer', 'await new Promise((r) => setTimeout(r, 1)); for (;;);'),
  spins(
    'a timer that sets itself again at once',
    'const again = () => { for (let i = 0; i < 2e5; i++) Math.sqrt(i); setTimeout(again, 0) }; again(); await new Promise(() => {})',
  ),
  spins(
    'an interval of 0 ms',
    'setInterval(() => { for (let i = 0; i < 2e5; i++) Math.sqrt(i) }, 0); await new Promise(() => {})',
  ),
  spins('loops in catch and finally', 'for (;;) { try { for (;;); } catch { for (;;); } finally { for (;;); } }'),
  spins('a microtask that spins after the run was stopped', 'Promise.resolve().then(() => { for (;;); }); for (;;);'),
  spins('catastrophic backtracking', `return new Response(String(/^(a+)+$/.test('a'.repeat(40) + 'b')))`),
  spins(
    'backtracking with look-behind',
    `return new Response(String(/(?<=^(?:x|xx)*)y$/.test('x'.repeat(5000) + 'z') || /^(x+x+)+y/.test('x'.repeat(50))))`,
  ),
  spins('a comparator that never ends', 'new Array(1000).fill(0).map(Math.random).sort(() => { for (;;); })'),
  spins('a generator taken apart', 'const g = (function* () { for (;;) yield 1 })(); for (const x of g);'),
  spins(
    'a spread of an iterator without end',
    'const it = { [Symbol.iterator]: () => ({ next: () => ({ done: false, value: 0 }) }) }; [...it]',
    {
      expect: EITHER,
      why: 'The list that is made grows while it spins.',
    },
  ),
  spins(
    'a proxy that is its own prototype',
    'const p = new Proxy({}, { getPrototypeOf: () => { for (;;); } }); p instanceof Response',
  ),
  spins('toJSON that spins', 'return Response.json({ toJSON() { for (;;); } })'),
  spins('a reviver that spins', `JSON.parse('[1]', () => { for (;;); })`),
  spins('toString of a header value', `return new Response('', { headers: { a: { toString() { for (;;); } } } })`),
  spins('valueOf of a status', 'return new Response("", { status: { valueOf() { for (;;); } } })'),
  spins('a getter of the init', 'return new Response("", { get headers() { for (;;); } })'),
  spins('an iterator of headers', 'new Headers({ [Symbol.iterator]: function* () { for (;;) yield ["a", "b"] } })', {
    expect: EITHER,
    why: 'The list of fields grows while it spins.',
  }),
  spins('a thenable that the handler returns', 'return { then() { for (;;); } }'),
  spins(
    'a stream that is pulled for ever and gives nothing',
    'return new Response(new ReadableStream({ async pull() { for (;;) await null } }))',
    {
      expect: BEGUN,
      why: START,
    },
  ),
  spins(
    'a stream that spins after its first chunk',
    `let n = 0; return new Response(new ReadableStream({ pull(c) { if (n++) for (;;); c.enqueue(new TextEncoder().encode('x')) } }))`,
    {
      expect: [...BEGUN, 'cpu_exceeded'],
      why: START,
    },
  ),
  spins('a stream of empty chunks', 'return new Response(new ReadableStream({ pull(c) { c.enqueue(new Uint8Array(0)) } }))', {
    expect: BEGUN,
    why: START,
  }),
  spins('a size function that spins', 'new ReadableStream({ start(c) { c.enqueue(1) } }, { size() { for (;;); } })'),
  spins(
    'a transform that feeds itself',
    'const t = new TransformStream({ transform(x, c) { for (;;) c.enqueue(x) } }); t.writable.getWriter().write(1); await t.readable.getReader().read(); await new Promise(() => {})',
    {
      expect: EITHER,
      why: 'Its queue grows while it spins.',
    },
  ),
  spins('recursion that catches its own overflow', 'const f = () => { try { f() } finally { f() } }; f()'),
  spins(
    'a listener that spins',
    `const t = new EventTarget(); t.addEventListener('x', () => { for (;;); }); t.dispatchEvent(new Event('x'))`,
  ),
  spins('an abort listener that spins', `const c = new AbortController(); c.signal.onabort = () => { for (;;); }; c.abort()`),
  spins(
    'console.log of a getter that spins',
    'console.log({ get a() { for (;;); } }, new Proxy({}, { ownKeys() { for (;;); } })); for (;;);',
  ),
  spins('an error whose stack spins', 'throw Object.defineProperty(new Error(), "stack", { get() { for (;;); } })'),
  spins('an error whose message spins', 'throw { get message() { for (;;); }, get name() { for (;;); } }'),
  spins('prepareStackTrace that spins', 'Error.prepareStackTrace = () => { for (;;); }; null.x', {
    expect: ['cpu_exceeded', 'function_threw'],
    why: 'It need not be called at all.',
  }),
  spins('structuredClone of a getter that spins', 'structuredClone({ get a() { for (;;); } })'),
  spins('URL after URL', `for (;;) new URL('http://a.test/' + 'x/'.repeat(100) + '?a=b')`),
  spins('random bytes for ever', 'const b = new Uint8Array(65536); for (;;) crypto.getRandomValues(b)'),
  spins('decoding for ever', 'const b = new Uint8Array(65536); const d = new TextDecoder(); for (;;) d.decode(b)'),
  spins('base64 for ever', `const s = 'x'.repeat(65536); for (;;) atob(btoa(s))`),
  spins('garbage for ever', 'for (;;) JSON.parse(JSON.stringify({ a: [1, 2, 3], b: { c: "d".repeat(100) } }))'),
  spins('formatters of Intl for ever', 'for (;;) new Intl.NumberFormat("de").format(1)', {
    expect: EITHER,
    why: 'They hold memory outside of the heap.',
  }),
  spins('a wasm loop', `new WebAssembly.Instance(__skep_modules['loop.wasm']).exports.f()`, {
    modules: { 'loop.wasm': WASM_LOOP },
  }),
  {
    name: 'a loop after the answer',
    source: handler(`ctx.waitUntil((async () => { await null; for (;;); })()); return new Response('first')`),
    expect: [200, 'cpu_exceeded'],
    why: 'The answer may have left, or be stopped with the run that made it.',
  },
  {
    name: 'a little under the limit, at every timer of one event',
    source: handler(
      `for (;;) { const end = 3e6; for (let i = 0; i < end; i++) Math.sqrt(i); await new Promise((r) => setTimeout(r, 1)) }`,
    ),
    expect: 'cpu_exceeded',
  },
  {
    name: 'many events that spin, at once',
    source: handler('for (;;);'),
    times: 8,
    expect: ['cpu_exceeded', 'quarantined', 'worker_lost'],
    why: 'Once it has been caught it may be kept out.',
  },
  {
    name: 'every other event spins: the others are answered or not run',
    source: handler(`if (request.url.endsWith('/spin')) for (;;); return new Response('fine')`),
    requests: [{}, { path: '/spin' }, {}],
    expect: [200, 'quarantined'],
    why: 'An offence may keep the function out for a while.',
  },
]

/**
 * Built-ins that never look whether they should stop. Their thread is lost, and with it, after a grace, its process: these
 * are few, as each costs one.
 */
export const uninterruptible: Attack[] = [
  spins('BigInt powers', 'let x = 3n; for (;;) x = x ** 9n', {
    expect: ['cpu_exceeded', 'function_threw', 'memory_exceeded'],
    why: 'V8 refuses the largest results.',
  }),
  spins('indexOf on an array-like of 2^53 items', 'Array.prototype.indexOf.call({ length: 2 ** 53 - 1 }, 1)'),
  spins('fill of an array-like', 'Array.prototype.fill.call({ length: 2 ** 53 - 1 }, 0)', {
    expect: EITHER,
    why: 'What it fills grows.',
  }),
  spins('join of a sparse array', 'new Array(2 ** 32 - 1).join("")', {
    expect: ['cpu_exceeded', 'function_threw', 'memory_exceeded', 200, 'no_response'],
    why: 'V8 joins nothing with nothing at once, mostly.',
  }),
  spins(
    'sorting a large typed array',
    'const a = new Float64Array(4e6).map(Math.random); for (;;) { a.sort(); a.reverse(); crypto.getRandomValues(new Uint8Array(a.buffer, 0, 65536)) }',
  ),
  spins('normalize of a long text', `const s = '\\u1e9b\\u0323'.repeat(4e6); for (;;) s.normalize('NFKD')`, {
    expect: EITHER,
    why: 'Its results are large.',
  }),
  spins(
    'localeCompare of long texts',
    `const s = '\\u00e4'.repeat(8e6); for (;;) s.localeCompare(s + 'x', 'sv', { sensitivity: 'base' })`,
    { expect: EITHER, why: 'The texts are large.' },
  ),
  spins('encodeURIComponent of a long text', `const s = '\\u4e2d'.repeat(8e6); for (;;) encodeURIComponent(s)`, {
    expect: EITHER,
    why: 'Its results are large.',
  }),
  spins('JSON.parse of a deep text', `const s = '['.repeat(3e7); for (;;) try { JSON.parse(s) } catch {}`, {
    expect: EITHER,
    why: 'The parser keeps a stack.',
  }),
  spins('a large BigInt written out', 'const x = (1n << 24_000_000n) - 1n; for (;;) x.toString(10)'),
]
