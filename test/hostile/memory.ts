import { handler } from './attack.ts'
import type { Attack } from './attack.ts'
import { WASM_GIGABYTE, WASM_GROWS } from './wasm.ts'

/** Memory without end, of every kind. CPU is given plenty, so that it is memory that ends it. */

const ENOUGH = { cpuMs: 2_000, memoryMb: 32, wallMs: 25_000 }

const grows = (name: string, body: string, more: Partial<Attack> = {}): Attack => ({
  name,
  source: handler(body),
  limits: ENOUGH,
  ...ONE_RUN,
  ...more,
})

/** Within one run the heap has head-room, and what ends it is V8's own limit or the CPU time; both are bounds. */
const ONE_RUN = {
  expect: ['memory_exceeded', 'cpu_exceeded'] as const,
  why: 'Within one run the heap has head-room: CPU time may end first.',
}
/** What cannot be allocated throws where the code asks for it, and code that does not catch that has thrown. */
const THROWS = {
  expect: ['memory_exceeded', 'cpu_exceeded', 'function_threw'] as const,
  why: 'A request for too much memory may throw, and CPU time may end first.',
}

/** A little at a time, at rest in between: there the limit is the function's own, to the megabyte. */
const slowly = (name: string, top: string, step: string, more: Partial<Attack> = {}): Attack => ({
  name: `${name}, a little at a time`,
  source: handler(`${top}; for (;;) { ${step}; await new Promise((r) => setTimeout(r, 0)) }`),
  limits: ENOUGH,
  expect: 'memory_exceeded',
  ...more,
})
const BUFFERS = {
  expect: ['memory_exceeded', 'function_threw'] as const,
  why: 'Memory outside the heap is refused where it is asked for.',
}

export const memory: Attack[] = [
  slowly('objects', 'const all = []', 'for (let i = 0; i < 20_000; i++) all.push({ i, list: [i] })'),
  slowly('strings', 'const all = []', `for (let i = 0; i < 50; i++) all.push(('x' + all.length).repeat(5_000).toUpperCase())`),
  slowly('a Map', 'const map = new Map()', 'for (let i = 0; i < 20_000; i++) map.set(map.size, i)'),
  slowly('a Set', 'const set = new Set()', `for (let i = 0; i < 10_000; i++) set.add('k' + set.size)`),
  slowly('properties', 'const o = {}; let n = 0', `for (let i = 0; i < 5_000; i++) o['p' + n++] = i`),
  slowly(
    'closures',
    'const all = []',
    'for (let i = 0; i < 5_000; i++) { const a = [i, i, i, i, i, i, i, i]; all.push(() => a) }',
  ),
  slowly('promises', 'const all = []', 'for (let i = 0; i < 20_000; i++) all.push(new Promise(() => {}))'),
  slowly(
    'answers',
    'const all = []',
    `for (let i = 0; i < 100; i++) all.push(new Response('x'.repeat(1_000), { headers: { a: 'b'.repeat(1_000) } }))`,
  ),
  slowly('array buffers', 'const all = []', 'all.push(new Uint8Array(1 << 20).fill(1))', BUFFERS),
  slowly(
    'resizable buffers',
    'const all = []',
    'const b = new ArrayBuffer(1, { maxByteLength: 1 << 21 }); b.resize(1 << 21); new Uint8Array(b).fill(1); all.push(b)',
    BUFFERS,
  ),
  slowly(
    'WebAssembly memory',
    'const all = []',
    'const m = new WebAssembly.Memory({ initial: 16 }); new Uint8Array(m.buffer).fill(1); all.push(m)',
    BUFFERS,
  ),
  slowly(
    'a stream that nobody reads',
    'let c; new ReadableStream({ start(controller) { c = controller } })',
    'c.enqueue(new Uint8Array(1 << 20).fill(1))',
    BUFFERS,
  ),
  grows('objects', 'let all = []; for (;;) all = [all, {}, []]'),
  grows('numbers in an array', 'const all = []; for (let i = 0; ; i++) all.push(i + 0.5)', THROWS),
  grows('strings', `const all = []; for (let i = 0; ; i++) all.push((i + 'x').repeat(1 << 16).toUpperCase())`),
  grows(
    'a rope of strings, flattened',
    `let s = 'x'; for (;;) { s += s; s.charCodeAt(0); if (s.length > 1 << 27) s = s.slice(1); all.push(s.toUpperCase()) }`.replace(
      'let s',
      'const all = []; let s',
    ),
    THROWS,
  ),
  grows('closures', 'const all = []; for (;;) { const a = new Array(100).fill(all.length); all.push(() => a) }', THROWS),
  grows('promises', 'const all = []; for (;;) all.push(new Promise(() => {}))', THROWS),
  grows('a Map', 'const map = new Map(); for (let i = 0; ; i++) map.set(i, i)', THROWS),
  grows('a Set of strings', `const set = new Set(); for (let i = 0; ; i++) set.add('k' + i)`, THROWS),
  grows('symbols', 'const o = {}; for (let i = 0; ; i++) o[Symbol.for("s" + i)] = i'),
  grows('properties', `const o = {}; for (let i = 0; ; i++) o['p' + i] = i`),
  grows('a WeakMap', 'const map = new WeakMap(); let all = null; for (;;) { const k = { all }; all = k; map.set(k, k) }'),
  grows(
    'shapes',
    `const all = []; for (let i = 0; ; i++) { const o = {}; for (let j = 0; j < 20; j++) o['q' + i + j] = j; all.push(o) }`,
  ),
  grows('array buffers', 'const all = []; for (;;) all.push(new Uint8Array(1 << 20).fill(1))', THROWS),
  grows('one array buffer of gigabytes', 'return new Response(String(new ArrayBuffer(2 ** 33).byteLength))', THROWS),
  grows(
    'a resizable buffer',
    'const b = new ArrayBuffer(1, { maxByteLength: 2 ** 32 }); for (let n = 1; ; n += 1 << 22) { b.resize(n); new Uint8Array(b).fill(1, Math.max(0, n - (1 << 22))) }',
    THROWS,
  ),
  grows(
    'many resizable buffers',
    'const all = []; for (;;) { const b = new ArrayBuffer(1 << 20, { maxByteLength: 1 << 22 }); b.resize(1 << 22); new Uint8Array(b).fill(1); all.push(b) }',
    THROWS,
  ),
  grows('a shared buffer', 'const b = new SharedArrayBuffer(2 ** 31); new Uint8Array(b).fill(1); return new Response("got it")', {
    expect: 'function_threw',
  }),
  grows(
    'WebAssembly memory made by hand',
    'const all = []; for (;;) { const m = new WebAssembly.Memory({ initial: 1024, maximum: 65536 }); new Uint8Array(m.buffer).fill(1); all.push(m) }',
    THROWS,
  ),
  grows(
    'WebAssembly memory that grows',
    'const m = new WebAssembly.Memory({ initial: 1 }); for (;;) { m.grow(256); new Uint8Array(m.buffer).fill(1) }',
    THROWS,
  ),
  grows(
    'a wasm module that declares a gigabyte',
    `const i = new WebAssembly.Instance(__skep_modules['a.wasm']); new Uint8Array(i.exports.m.buffer).fill(1); return new Response('got it')`,
    {
      ...THROWS,
      expect: ['memory_exceeded', 'cpu_exceeded', 'function_threw', 'start_failed'],
      modules: { 'a.wasm': WASM_GIGABYTE },
    },
  ),
  grows(
    'a wasm module that grows its own memory',
    `const { g, m } = new WebAssembly.Instance(__skep_modules['g.wasm']).exports; for (;;) { if (g() < 0) throw new Error('refused'); new Uint8Array(m.buffer).fill(1) }`,
    {
      ...THROWS,
      modules: { 'g.wasm': WASM_GROWS },
    },
  ),
  grows(
    'a wasm table',
    'const all = []; for (;;) all.push(new WebAssembly.Table({ initial: 1_000_000, element: "anyfunc" }))',
    THROWS,
  ),
  grows(
    'JSON.parse of a large text',
    `const s = '[' + '{"a":[1,2,3]},'.repeat(2_000_000) + '0]'; const all = []; for (;;) all.push(JSON.parse(s))`,
    THROWS,
  ),
  grows('split', `const all = []; for (;;) all.push('x,'.repeat(1_000_000).split(','))`, THROWS),
  grows('replace', `let s = 'x'.repeat(1000); for (;;) s = s.replace(/x/g, 'xx')`, THROWS),
  grows('matches', `const all = []; for (;;) all.push([...'x'.repeat(1_000_000).matchAll(/x/g)])`, THROWS),
  grows('float arrays', 'const all = []; for (;;) all.push(new Array(1_000_000).fill(0.1).map((x) => x + all.length))', THROWS),
  grows(
    'a spread of a large array-like',
    'const a = Array.from({ length: 3e7 }); return new Response(String([...a, ...a].length))',
    THROWS,
  ),
  grows(
    'a stream that is fed and never read',
    'const s = new ReadableStream({ start(c) { for (;;) c.enqueue(new Uint8Array(1 << 16)) } }); return new Response(s)',
    THROWS,
  ),
  grows(
    'a tee of which one branch is read',
    'const [a, b] = new ReadableStream({ pull(c) { c.enqueue(new Uint8Array(1 << 18)) } }).tee(); const r = a.getReader(); for (;;) await r.read()',
    THROWS,
  ),
  grows(
    'responses that are kept',
    `const all = []; for (;;) all.push(new Response('x'.repeat(1000), { headers: { a: 'b'.repeat(1000) } }))`,
    THROWS,
  ),
  grows(
    'FinalizationRegistry and WeakRef',
    'const r = new FinalizationRegistry(() => {}); const all = []; for (;;) { const o = {}; r.register(o, all, o); all.push(new WeakRef(o), o) }',
  ),
  grows(
    'errors with their stacks',
    'const all = []; const f = (n) => { if (n) f(n - 1); else all.push(new Error("x".repeat(100)), new Error().stack) }; for (;;) f(50)',
    THROWS,
  ),
  grows(
    'timers',
    'try { for (;;) setTimeout(() => {}, 1e9, new Uint8Array(10_000)) } catch (e) { return new Response(e.name) }',
    {
      expect: ['memory_exceeded', 200],
      why: 'The number of timers is bounded as well.',
    },
  ),
  grows(
    'a regular expression after the other',
    'const all = []; for (let i = 0; ; i++) { const r = new RegExp("(a|b" + i + "){1,200}"); r.test("ab".repeat(20)); all.push(r) }',
  ),
  grows(
    'formatters of Intl, kept',
    'const all = []; for (;;) all.push(new Intl.DateTimeFormat("en", { timeStyle: "full", timeZone: "Asia/Tokyo" }))',
  ),
  {
    name: 'a megabyte more with each event',
    source: handler('(globalThis.all ??= []).push(new Uint8Array(1 << 20).fill(1)); return new Response(String(all.length))'),
    limits: { memoryMb: 32 },
    requests: Array.from({ length: 80 }, () => ({})),
    expect: [200, 'memory_exceeded', 'quarantined', 'function_threw'],
    why: 'The isolate is replaced when it has become too large, between two events or in one.',
  },
  {
    name: 'a request body of many megabytes, read whole',
    source: handler('return new Response(String((await request.arrayBuffer()).byteLength))'),
    limits: { memoryMb: 32, cpuMs: 2_000 },
    requests: [{ body: new Uint8Array(60_000_000) }],
    ...THROWS,
  },
]
