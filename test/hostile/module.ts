import { handler } from './attack.ts'
import type { Attack } from './attack.ts'
import { encodeBundle } from '../../bundler/artifact.ts'
import type { Scene } from './scene.ts'
import { WASM_SHARED, WASM_STARTS, WASM_TABLE } from './wasm.ts'

/** Modules that do not start, or should not: found out at the upload, which answers with a code, before anybody calls them. */

const refused = (name: string, source: string, more: Partial<Attack> = {}): Attack => ({
  name,
  source,
  upload: true,
  expect: 'start_failed',
  ...more,
})

const script = (name: string, code: string, more: Partial<Attack> = {}): Attack => ({
  name,
  script: { code },
  upload: true,
  expect: 'start_failed',
  ...more,
})

const FINE = 'export default { fetch: () => new Response("fine") }'

/** Bytes instead of a bundle, or metadata that no version may have. */
const uploads = (name: string, expect: Attack['expect'], bytes: () => Uint8Array, metadata: unknown = {}): Attack => ({
  name,
  expect,
  run: async (scene, host) => judge(expect, (await scene.uploadBytes(host.replace('.localhost', ''), bytes(), metadata)).code),
})

const judge = (expect: Attack['expect'], code: string) => ([expect].flat().includes(code) ? '' : `answered ${code || 'no code'}`)

const bundle = (code = '({ default: { fetch: () => new Response("x") } })', changes: object = {}) =>
  encodeBundle({ code, async: false, modules: {}, sourceMap: '', nodejs: false, ...changes })

/** A bundle whose header says something else than what follows. */
const withHeader = (header: string, rest = '({ default: { fetch() {} } })') => Buffer.from(`skep-bundle 1\n${header}\n${rest}`)

const nested = (open: string, close: string, depth: number, core = '0') => `${open.repeat(depth)}${core}${close.repeat(depth)}`

export const module: Attack[] = [
  script('a syntax error', '({ default: '),
  script('a script that closes its wrapper', '0) } catch {} (() => { for (;;); })('),
  script('no value', ''),
  script('a value that is null', 'null'),
  script('a value that is a proxy', 'new Proxy({}, { get() { throw new Error("trap") } })'),
  script('a proxy that spins', 'new Proxy({}, { get() { for (;;); } })'),
  script('a promise that is not told', '(async () => ({ default: { fetch() {} } }))()'),
  script('a value that says it is a promise and is none', '({ default: { fetch() {} } })', {
    script: { code: '({ default: { fetch: () => new Response("x") } })', async: true },
    expect: ['start_failed', ''],
    upload: true,
    why: 'What is awaited may be no promise.',
  }),
  refused('throws at its top', 'throw new Error("x"); ' + FINE),
  refused('throws nothing', 'throw undefined; ' + FINE),
  refused('throws a proxy', 'throw new Proxy({}, { get() { for (;;); } }); ' + FINE),
  refused('spins at its top', 'for (;;); ' + FINE),
  refused('spins in a microtask of its top', 'Promise.resolve().then(() => { for (;;); }); ' + FINE),
  refused('allocates at its top', 'const all = []; for (;;) all.push(new Array(1000).fill({})); ' + FINE, {
    limits: { memoryMb: 16 },
  }),
  refused('awaits for ever at its top', 'await new Promise(() => {}); ' + FINE, { limits: { wallMs: 500 } }),
  refused('awaits timers without end at its top', 'for (;;) await new Promise((r) => setTimeout(r, 1)); ' + FINE, {
    limits: { wallMs: 500 },
  }),
  refused('rejects at its top', 'await Promise.reject(new Error("x")); ' + FINE),
  refused('a default export of nothing', 'export default undefined'),
  refused('a default export of null', 'export default null'),
  refused('a default export of a text', 'export default "x"'),
  refused('a default export of a number', 'export default 1n'),
  refused('no handler', 'export default {}'),
  refused('a handler that is no function', 'export default { fetch: "x" }'),
  refused('a handler that is an object', 'export default { fetch: { call() {} } }'),
  refused('a getter that throws for a handler', 'export default { get fetch() { throw new Error("x") } }'),
  refused('a getter that spins for a handler', 'export default { get fetch() { for (;;); } }'),
  refused(
    'a proxy as the default export, whose traps throw',
    'export default new Proxy({}, { get() { throw 1 }, has() { throw 2 } })',
  ),
  refused('a proxy that spins as the default export', 'export default new Proxy({}, { get() { for (;;); } })'),
  refused('deep nesting', `export default { fetch: () => ${nested('[', ']', 4000)} }; ${nested('(', ')', 4000)}`, {
    expect: ['start_failed', 'bundle_failed', ''],
    why: 'A parser may take it.',
  }),
  script('nesting deeper than a stack', nested('[', ']', 200_000)),
  script('a function in a function in a function', `${nested('(()=>', ')', 20_000)}`),
  script(
    'a regular expression that cannot be compiled',
    `/${nested('(', ')', 30_000, 'a')}/.test('a'); ({ default: { fetch() {} } })`,
    { expect: ['start_failed', ''], why: 'V8 compiles it lazily, and may take it.' },
  ),
  script('a template of a megabyte of parts', `\`${'${1}'.repeat(200_000)}\``),
  script(
    'a script without end of line of a million functions',
    `({ default: { fetch: () => new Response('fine') } }); ${'(function(){});'.repeat(100_000)}`,
    { expect: ['start_failed'], why: 'Its value is the last function.' },
  ),
  {
    name: 'more bytes than a bundle may have',
    script: { code: `/*${'x'.repeat(11_000_000)}*/({ default: { fetch() {} } })` },
    upload: true,
    expect: 'bundle_too_large',
  },
  {
    name: 'more bytes of source map than a bundle may have',
    script: { code: '({ default: { fetch() {} } })', sourceMap: 'x'.repeat(11_000_000) },
    upload: true,
    expect: 'bundle_too_large',
  },
  {
    name: 'a source map of nonsense, and an error to map',
    script: {
      code: '({ default: { fetch() { throw new Error("x") } } })',
      sourceMap: '{"version":3,"mappings":";;;;AAAA,zzzzzzzzzzzzzzzz","sources":[null,1,{}]}',
    },
    expect: 'function_threw',
  },
  {
    name: 'a source map that names the host’s files',
    script: {
      code: '({ default: { fetch() { throw new Error("x") } } })',
      sourceMap: '{"version":3,"mappings":"AAAA","sources":["../../../../etc/passwd"],"sourceRoot":"file:///"}',
    },
    expect: 'function_threw',
  },
  {
    name: 'a thenable as the default export',
    source: 'export default { then(a) { a({ fetch: () => new Response("other") }) }, fetch: () => new Response("own") }',
    expect: 200,
    text: /^own$/,
  },
  {
    name: 'a function as the default export',
    source: 'export default Object.assign(() => {}, { fetch: () => new Response("own") })',
    expect: 200,
    text: /^own$/,
  },
  {
    name: 'a class as the default export',
    source: 'export default class { static fetch() { return new Response("own") } }',
    expect: 200,
    text: /^own$/,
  },
  {
    name: 'a getter that gives another handler each time',
    source: 'let n = 0; export default { get fetch() { n++; const own = n; return () => new Response("own " + own) } }',
    expect: 200,
    text: /^own 1$/,
    requests: [{}, {}],
  },
  {
    name: 'the handler replaced at run time',
    source: 'const me = { fetch() { me.fetch = () => { for (;;); }; return new Response("own") } }; export default me',
    expect: 200,
    text: /^own$/,
    requests: [{}, {}],
  },
  {
    name: 'a handler that is a proxy',
    source: 'export default { fetch: new Proxy(() => new Response("own"), { apply: (f) => f(), get() { throw 1 } }) }',
    expect: 200,
    text: /^own$/,
  },
  {
    name: 'a handler that is bound',
    source: 'export default { fetch: (() => new Response("own")).bind(null) }',
    expect: 200,
    text: /^own$/,
  },
  {
    name: 'the exports frozen',
    source: 'export default Object.freeze({ fetch: () => new Response("own") })',
    expect: 200,
    text: /^own$/,
  },
  {
    name: 'globals replaced at the top',
    source:
      'for (const k of ["Promise", "Array", "Object", "Response", "Symbol", "Reflect"]) if (k !== "Response") globalThis[k] = class {}; export default { fetch: () => new Response("own") }',
    expect: 200,
    text: /^own$/,
  },
  {
    name: 'the globals’ prototypes at the top',
    source:
      'Object.defineProperty(Object.prototype, "default", { get() { for (;;); } }); Object.prototype.fetch = () => { for (;;); }; export default { fetch: () => new Response("own") }',
    expect: 200,
    text: /^own$/,
  },
  {
    name: 'a wasm module of nonsense',
    source: FINE,
    modules: { 'a.wasm': Buffer.from('nonsense') },
    upload: true,
    expect: 'start_failed',
  },
  {
    name: 'a wasm module cut off',
    source: FINE,
    modules: { 'a.wasm': WASM_STARTS.subarray(0, 20) },
    upload: true,
    expect: 'start_failed',
  },
  {
    name: 'a wasm module whose start spins',
    source: `new WebAssembly.Instance(__skep_modules['a.wasm']); ${FINE}`,
    modules: { 'a.wasm': WASM_STARTS },
    upload: true,
    expect: 'start_failed',
  },
  // Shared memory is more than a clock: isolated-vm frees what was copied out of it wrongly, and the process ends.
  {
    name: 'a wasm module with shared memory',
    source: FINE,
    modules: { 'a.wasm': WASM_SHARED },
    upload: true,
    expect: 'start_failed',
  },
  {
    name: 'a wasm module with ten million table entries',
    source: handler(
      `const all = []; for (let i = 0; i < 20; i++) all.push(new WebAssembly.Instance(__skep_modules['a.wasm'])); return new Response('x')`,
    ),
    modules: { 'a.wasm': WASM_TABLE },
    limits: { memoryMb: 32, cpuMs: 5_000 },
    expect: ['memory_exceeded', 'function_threw', 'start_failed', 'cpu_exceeded'],
    why: 'V8 may refuse the table, or count it.',
  },
  uploads('no bytes', 'bundle_rejected', () => new Uint8Array(0)),
  uploads('other bytes', 'bundle_rejected', () => Buffer.from('PK\x03\x04')),
  uploads('a header that does not end', 'bundle_rejected', () => Buffer.from(`skep-bundle 1\n${'x'.repeat(100_000)}`)),
  uploads('a header that is no JSON', 'bundle_rejected', () => withHeader('{')),
  uploads('a header of another kind', 'bundle_rejected', () => withHeader('[]')),
  uploads('a header of null', 'bundle_rejected', () => withHeader('null')),
  uploads('lengths that are negative', 'bundle_rejected', () =>
    withHeader('{"async":false,"nodejs":false,"code":-1,"sourceMap":0,"modules":[]}'),
  ),
  uploads('lengths beyond the end', 'bundle_rejected', () =>
    withHeader('{"async":false,"nodejs":false,"code":9007199254740991,"sourceMap":0,"modules":[]}'),
  ),
  uploads('lengths that fall short', 'bundle_rejected', () =>
    withHeader('{"async":false,"nodejs":false,"code":1,"sourceMap":0,"modules":[]}'),
  ),
  uploads('modules that are no list', 'bundle_rejected', () =>
    withHeader('{"async":false,"nodejs":false,"code":0,"sourceMap":0,"modules":{"length":1}}'),
  ),
  uploads('a module named __proto__', ['start_failed', 'bundle_rejected', ''], () =>
    bundle(undefined, { modules: Object.fromEntries([['constructor', new Uint8Array(4)]]) }),
  ),
  uploads('another hash than it says', 'bundle_rejected', () => bundle(), { sha256: '0'.repeat(64) }),
  ...Object.entries({
    'CPU below zero': { cpuMs: -1 },
    'no CPU': { cpuMs: 0 },
    'CPU as text': { cpuMs: '50' },
    'CPU beyond the ceiling': { cpuMs: 1e9 },
    'memory beyond the ceiling': { memoryMb: 100_000 },
    'wall time of nonsense': { wallMs: 1e308 },
    'half an event': { concurrency: 0.5 },
    'requests without end': { subrequests: 2 ** 53 },
    'a limit that is not there': { gpuMs: 1 },
    'limits that are a list': [],
  }).map(([what, limits]) => uploads(`limits: ${what}`, 'invalid_request', () => bundle(), { limits })),
  uploads('limits: not a number', 'invalid_request', () => bundle(), '{"limits":{"cpuMs":NaN}}'),
  uploads('limits: a number too large to be one', 'invalid_request', () => bundle(), '{"limits":{"cpuMs":1e999}}'),
  uploads(
    'metadata with a prototype',
    'invalid_request',
    () => bundle(),
    '{"__proto__":{"limits":{"cpuMs":1}},"constructor":{}}',
  ),
  uploads('vars that are no texts', 'invalid_request', () => bundle(), { vars: { A: 1 } }),
  uploads('vars with names of nonsense', 'invalid_request', () => bundle(), { vars: { 'a b': 'x', '': 'y' } }),
  uploads('metadata nested without end', 'invalid_request', () => bundle(), `{"vars":${nested('[', ']', 100_000)}}`),
  {
    name: 'names with tricks',
    expect: 'invalid_name',
    run: async (scene: Scene) => {
      for (const name of ['..%2f..', 'A', '__proto__', 'a%00b', 'x'.repeat(64)]) {
        const { code } = await scene.uploadBytes(name, bundle(), {})
        if (code !== 'invalid_name') return `${name} is answered ${code}`
      }
      return ''
    },
  },
]
