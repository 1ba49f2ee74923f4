import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import vm from 'node:vm'
import { decodeBundle, encodeBundle } from './artifact.ts'
import { bundle, BUNDLE_FILENAME } from './bundle.ts'
import { createStackMapper } from './source-map.ts'
import { evaluate, failure, make, project, run, stackOf, WebAssembly } from './_fixture.ts'

const HERE = import.meta.dirname

describe('the completion value is the namespace of the entry', () => {
  test('with default and named exports', async () => {
    const files = {
      'src/index.ts': `
        export { x as default, type T } from './x.ts'; export * from './star.js'; export let counter = 1
        export function grow() { counter++ }`,
      'src/x.ts': `export type T = number; export const x: { fetch(): T } = { fetch: () => 7 }`,
      'src/star.js': `export const star = 'star'; export default 'not this one'`,
    }
    const namespace = await run(files)
    assert.deepEqual(Object.keys(namespace).sort(), ['counter', 'default', 'grow', 'star'])
    assert.equal(namespace.default.fetch(), 7)
    namespace.grow()
    assert.equal(namespace.counter, 2)
  })

  test('also for CommonJS, with and without __esModule', async () => {
    assert.equal((await run({ 'index.js': `module.exports = { fetch: () => 1 }` })).default.fetch(), 1)
    const transpiled = `Object.defineProperty(exports, '__esModule', { value: true }); exports.default = { fetch: () => 2 }`
    assert.equal((await run({ 'index.cjs': transpiled })).default.fetch(), 2)
  })

  test('as a promise, where a module awaits at its top level', async () => {
    const made = await make({
      'index.ts': `import { v } from './v.ts'; const require = 1; export default { v, n: await Promise.resolve(2), require }`,
      'v.ts': `export const v = await (async () => 'v')(); const {w} = await import('./w.ts'); export { w }`,
      'w.ts': `export const w = import.meta.url`,
    })
    assert.equal(made.async, true)
    const value = evaluate(made)
    assert.equal(Object.prototype.toString.call(value), '[object Promise]')
    const { default: main } = await value
    assert.deepEqual({ ...main }, { v: 'v', n: 2, require: 1 })
  })

  test('and the script leaves nothing behind in the global object, and is strict', async () => {
    const made = await make({ 'index.js': `var leaked = 1; function f() { return this } ; export default { self: f() }` })
    assert.equal(made.async, false)
    const before = vm.createContext({})
    const namespace = vm.runInContext(made.code, before)
    assert.equal(namespace.default.self, undefined)
    assert.deepEqual(Object.keys(before), [])
  })

  test('with code that is in memory', async () => {
    const { bundle: made } = await bundle({ code: `export default { fetch: (): string => 'in memory' }` })
    assert.equal(evaluate(made).default.fetch(), 'in memory')
    assert.deepEqual(JSON.parse(made.sourceMap).sources, ['index.ts', 'skep:entry'])
    const resolveDir = project({ 'lib.ts': `export const lib = 'lib'` })
    const code = `import { lib } from './lib'; export default { lib }`
    assert.equal(evaluate((await bundle({ code, resolveDir, filename: 'f.ts' })).bundle).default.lib, 'lib')
    const elsewhere = await failure(
      bundle({ code: `import passwd from '/etc/passwd' with { type: 'text' }; export default passwd` }),
    )
    assert.match(elsewhere.message, /index\.ts:1:20: Could not resolve "\/etc\/passwd"/)
    assert.match((await failure(bundle({ code: `export default 1 +` }))).message, /index\.ts:1:19: Unexpected end of file/)
  })

  test('and such code, when it has no folder, reaches no file', async () => {
    const code = [
      `import('./' + n)`,
      `require('../' + n)`,
      `import('./bundle.test.ts')`,
      `require(\`./\${n}.ts\`)`,
      `import('/etc/passwd')`,
    ]
    for (const load of code) {
      const { bundle: made, inputs } = await bundle({ code: `export default async (n) => ${load}` })
      assert.deepEqual(inputs, [])
      await assert.rejects(evaluate(made).default('x'), { message: /^Cannot import ".*": it was not known when/ })
    }
    const nested = `import x from 'data:text/javascript,export default (n) => require("./" + n)'; export default x`
    assert.match((await failure(bundle({ code: nested }))).message, /can import nothing/)
    const map = { version: 3, sources: ['/etc/passwd', '../../../../../../etc/passwd'], names: [], mappings: 'AAAA,GCAA' }
    const comment = `//# sourceMappingURL=data:application/json;base64,${Buffer.from(JSON.stringify(map)).toString('base64')}`
    assert.ok(!(await bundle({ code: `export default 1\n${comment}` })).bundle.sourceMap.includes('root:'))
    // Nor does a package embed a file of the author's in what is deployed.
    const files = { 'i.js': `import x from 'x'; export default x`, 'node_modules/x/index.js': `export default 1\n${comment}` }
    assert.ok(!(await make(files)).sourceMap.includes('root:'))
    const mapped = (await bundle({ code: `export default {\n  f(): never { throw new Error('x') },\n}` })).bundle
    const stack = createStackMapper(mapped.sourceMap, BUNDLE_FILENAME)(stackOf(() => evaluate(mapped).default.f()))
    assert.match(stack, /at Object\.f \(index\.ts:2:22\)/)
    assert.match(JSON.parse(mapped.sourceMap).sourcesContent[0], /never/)
  })
})

describe('what can be imported', () => {
  const wasm = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])

  test('JSON, text, WebAssembly and bytes', async () => {
    const made = await make({
      'src/index.ts': `
        import data, { n } from './data.json'; import text from './a.txt'; import html from './b.html'; import css from './c.css'
        import wasm from './m.wasm'; import bytes from '../d.bin'; import unused from './unused.bin'
        export default { data, n, text, html, css, wasm, bytes }`,
      'src/data.json': '{"n":1,"list":[true]}',
      'src/a.txt': 'text é\n',
      'src/b.html': '<p>',
      'src/c.css': 'p{}',
      'src/m.wasm': wasm,
      'd.bin': new Uint8Array([1, 2, 255]),
      'src/unused.bin': new Uint8Array([9]),
    })
    const { default: main } = evaluate(made)
    assert.deepEqual(JSON.parse(JSON.stringify([main.data, main.n])), [{ n: 1, list: [true] }, 1])
    assert.deepEqual([main.text, main.html, main.css], ['text é\n', '<p>', 'p{}'])
    assert.ok(main.wasm instanceof WebAssembly.Module)
    assert.ok(main.bytes instanceof ArrayBuffer)
    assert.deepEqual([...new Uint8Array(main.bytes)], [1, 2, 255])
    assert.deepEqual(
      Object.keys(made.modules)
        .map((name) => name.replace(/^[0-9a-f]{32}-/, ''))
        .sort(),
      ['d.bin', 'm.wasm'],
    )
    const decoded = decodeBundle(encodeBundle(made))
    assert.equal(decoded.code, made.code)
    assert.deepEqual(evaluate(decoded).default.text, 'text é\n')
  })

  test('JSX, with the automatic runtime of a package, or the one that tsconfig.json names', async () => {
    const runtime = `export const jsx = (type, props) => type + JSON.stringify(props); export const jsxs = jsx; export const Fragment = ''`
    const page = `export default { page: <p class="x">{1}</p> }`
    const files = {
      'node_modules/react/package.json': '{"exports":{"./jsx-runtime":"./r.js"}}',
      'node_modules/react/r.js': runtime,
    }
    assert.equal((await run({ 'i.tsx': page, ...files })).default.page, 'p{"class":"x","children":1}')
    const other = {
      'tsconfig.json': '{"compilerOptions":{"jsx":"preserve","jsxImportSource":"other"}}',
      'node_modules/other/jsx-runtime.js': runtime,
    }
    assert.equal((await run({ 'i.jsx': page, ...other })).default.page, 'p{"class":"x","children":1}')
  })

  test('packages of npm: the build for Workers comes first', async () => {
    const exports = { node: './node.js', workerd: './workerd.js', default: './default.js' }
    const files = {
      'index.js': `import a from 'a'; import b from 'b'; import c from 'c'; export default { a, b, c }`,
      'node_modules/a/package.json': JSON.stringify({ exports }),
      'node_modules/a/workerd.js': `export default 'workerd'`,
      'node_modules/b/package.json': JSON.stringify({
        main: './main.js',
        module: './module.js',
        browser: { './module.js': './b.js' },
      }),
      'node_modules/b/b.js': `export default 'browser'`,
      'node_modules/b/module.js': ``,
      'node_modules/c/index.js': `module.exports = { common: typeof require, env: process.env.NODE_ENV }`,
    }
    const { a, b, c } = (await run(files)).default
    assert.deepEqual([a, b, c.common, c.env], ['workerd', 'browser', 'function', 'production'])
  })

  test('hono, which answers', async () => {
    const code = `import { Hono } from 'hono'; const app = new Hono(); app.get('/u/:id', (c) => c.json({ id: c.req.param('id') })); export default app`
    const { bundle: made, inputs } = await bundle({ code, resolveDir: HERE })
    assert.ok(inputs.some((path) => path.endsWith('node_modules/hono/dist/hono.js')))
    const app = evaluate(made, { Request, Response, Headers, URL }).default
    const response = await app.fetch(new Request('http://x/u/7'))
    assert.deepEqual(await response.json(), { id: '7' })
  })

  test('modules that import each other, and dynamic imports of a literal', async () => {
    const { default: main } = await run({
      'a.js': `import { b } from './b.js'; export const a = () => 'a'; export default { b, lazy: () => import('./lazy.js') }`,
      'b.js': `import main, { a } from './a.js'; export const b = () => a() + 'b' + typeof main`,
      'lazy.js': `import main from './a.js'; export default () => main.b() + '!'`,
    })
    assert.equal(main.b(), 'abobject')
    assert.equal((await main.lazy()).default(), 'abobject!')
  })

  test('but not by a name that is made up at run time', async () => {
    for (const tail of ['', '; await 0']) {
      const { default: main } = await await run({
        'i.js': `export default { load: (x) => import(x), need: (x) => require(x) }${tail}`,
      })
      await assert.rejects(main.load('fs'), { message: /Cannot import "fs": it was not known when the function was bundled/ })
      assert.throws(() => main.need('fs'), { message: /Cannot import "fs"/ })
    }
  })

  test('import.meta says nothing of the machine', async () => {
    const { default: main } = await run({
      'i.js': `export default { url: import.meta.url, other: import.meta.other, all: { ...import.meta } }`,
    })
    assert.deepEqual({ ...main, all: { ...main.all } }, { url: BUNDLE_FILENAME, other: undefined, all: { url: BUNDLE_FILENAME } })
  })
})

test('stacks name the line and column of the source', async () => {
  for (const tail of ['', 'await 0']) {
    for (const minify of [true, false]) {
      const source = `// a comment\nimport { deep } from './deep'\n\nexport default {\n  fetch() {\n    return deep(1)\n  },\n}\n${tail}`
      const deep = `interface A { a: number }\n\nexport function deep(n: number): A {\n  if (n) throw new TypeError('thrown')\n  return { a: 1 }\n}\n`
      const made = await make({ 'src/index.ts': source, 'src/deep.ts': deep }, { minify })
      const { default: main } = await evaluate(made)
      const lines = createStackMapper(made.sourceMap, BUNDLE_FILENAME)(stackOf(() => main.fetch())).split('\n')
      assert.deepEqual(lines.slice(0, 3), [
        'TypeError: thrown',
        '    at deep (src/deep.ts:4:16)',
        '    at Object.fetch (src/index.ts:6:12)',
      ])
      const map = JSON.parse(made.sourceMap)
      assert.equal(map.sourcesContent[map.sources.indexOf('src/deep.ts')], deep)
    }
  }
})

test('files may have any name', async () => {
  const files = {
    'a b/in"d#x%20.ts': `import x from './é q?.cjs'; export default { x, load: (n) => import('./pages/' + n + '.ts') }`,
    'a b/é q?.cjs': `module.exports = () => { throw new Error('here') }`,
    'a b/pages/1.ts': `export default 'page 1'`,
  }
  const made = await make(files)
  const { default: main } = evaluate(made)
  assert.equal((await main.load('1')).default, 'page 1')
  const stack = createStackMapper(made.sourceMap, BUNDLE_FILENAME)(stackOf(() => main.x()))
  assert.match(stack, /at .*a b\/é q\?\.cjs:1:32/)
})

test('a process that has bundled ends by itself, and a killed esbuild is replaced', () => {
  const script = `
    const { bundle } = await import(${JSON.stringify(join(HERE, 'bundle.ts'))})
    const { execFileSync } = await import('node:child_process')
    const code = 'export default 1'
    await bundle({ code }); await bundle({ code: 'export default +' }).catch(() => {})
    const child = execFileSync('ps', ['-o', 'pid=,args=', '--ppid', String(process.pid)], { encoding: 'utf8' }).split('\\n').find((l) => l.includes('esbuild'))
    process.kill(parseInt(child), 'SIGKILL')
    await bundle({ code }); await new Promise((r) => setTimeout(r, 50)); await bundle({ code })
    console.log('bundled')`
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8', timeout: 20_000 })
  assert.equal(output.trim(), 'bundled')
})
