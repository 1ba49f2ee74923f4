import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, describe, test } from 'node:test'
import vm from 'node:vm'
import { SkepError, type ErrorCode } from '../host/errors.ts'
import { decodeBundle, encodeBundle, hashBytes, type Bundle } from './artifact.ts'
import { bundle, BUNDLE_FILENAME, closeBundler, type BundleOptions } from './bundle.ts'
import type { BundleError } from './failure.ts'
import { createStackMapper } from './source-map.ts'

const HERE = import.meta.dirname
// Of the runtime, not of the Node.js types.
const { WebAssembly } = globalThis as any
const scratch = realpathSync(mkdtempSync(join(tmpdir(), 'skep-bundler-')))
after(async () => {
  rmSync(scratch, { recursive: true })
  await closeBundler()
})

let folders = 0
function project(files: Record<string, string | Uint8Array>, at = join(scratch, `project-${folders++}`)): string {
  for (const [name, content] of Object.entries({ 'package.json': '{}', ...files })) {
    mkdirSync(dirname(join(at, name)), { recursive: true })
    writeFileSync(join(at, name), content)
  }
  return at
}

const make = async (files: Record<string, string | Uint8Array>, options?: BundleOptions) =>
  (await bundle({ main: join(project(files), Object.keys(files)[0]!) }, options)).bundle

/** What the sandbox does: runs the classic script, with the binary modules in a free variable. */
function evaluate({ code, modules }: Bundle, globals: Record<string, unknown> = {}): any {
  const __skep_modules: Record<string, unknown> = {}
  for (const [name, bytes] of Object.entries(modules)) {
    const buffer = new Uint8Array(bytes).buffer
    __skep_modules[name] = name.endsWith('.wasm') ? new WebAssembly.Module(buffer) : buffer
  }
  const context = vm.createContext({ __skep_modules, ...globals })
  return vm.runInContext(code, context, { filename: BUNDLE_FILENAME })
}

const run = async (files: Record<string, string | Uint8Array>, options?: BundleOptions) => evaluate(await make(files, options))

async function failure(made: Promise<unknown>, code: ErrorCode = 'bundle_failed') {
  const error = await made.then(
    () => assert.fail('it was bundled'),
    (error: unknown) => error,
  )
  assert.ok(error instanceof SkepError, String(error))
  assert.equal(error.code, code)
  return { message: error.message, errors: (error.details?.errors ?? []) as BundleError[], details: error.details! }
}

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

describe('errors', () => {
  test('name file, line and column, show the line, and all are reported', async () => {
    const { message, errors } = await failure(
      make({
        'src/index.ts': `import './first'\nexport { default } from './other'`,
        'src/first.ts': `\nexport default {\n\té: 'é' x }\n`,
        'src/other.ts': `let z\nlet z; let z\n`,
      }),
    )
    assert.match(message, /^Cannot bundle src\/index\.ts \(3 errors\):/)
    assert.ok(message.includes(`src/first.ts:3:9: Expected "}" but found "x"\n  \té: 'é' x }\n  \t       ^`), message)
    assert.ok(message.includes(`src/other.ts:2:5: The symbol "z" has already been declared\n  let z; let z\n      ^`), message)
    assert.equal(errors[0]!.lineText, `\té: 'é' x }`)
    const unresolved = await failure(
      make({ 'i.ts': `import a from './missing.js'\nimport b from '@scope/pkg/sub'\nexport default [a, b]` }),
    )
    assert.deepEqual(
      unresolved.errors.map(({ file, line, column, text, notes }) => ({ file, line, column, text, notes })),
      [
        { file: 'i.ts', line: 1, column: 15, text: 'Could not resolve "./missing.js"', notes: [] },
        {
          file: 'i.ts',
          line: 2,
          column: 15,
          text: 'Could not resolve "@scope/pkg/sub"',
          notes: ['If it is a package of npm, install it: npm install @scope/pkg'],
        },
      ],
    )
  })

  test('a missing default export', async () => {
    for (const code of ['export const fetch = 1', '', 'console.log(1)', 'export const x = await 1', 'export type X = 1']) {
      const { message, errors } = await failure(make({ 'src/i.ts': code }))
      assert.match(message, /src\/i\.ts:1:1: The function has no default export/, code)
      assert.equal(errors.length, 1)
    }
  })

  test('a missing file, a folder, a file of an unknown kind', async () => {
    const missing = await failure(bundle({ main: join(scratch, 'nowhere/index.ts') }))
    assert.match(missing.message, /nowhere\/index\.ts: there is no such file\.$/)
    assert.equal(missing.errors[0]!.text, 'there is no such file')
    assert.match((await failure(bundle({ main: scratch }))).message, /it is not a file/)
    assert.match((await failure(make({ 'i.weird': 'x' }))).message, /No loader is configured for "\.weird" files/)
  })

  test('modules of Node.js', async () => {
    const code = `import path from 'node:path'\nimport fs from 'fs'\nexport default { path, fs }`
    const without = await failure(make({ 'i.ts': code }))
    assert.match(without.message, /i\.ts:1:18: "node:path" is a module of Node\.js: set nodejs: true in skep\.yaml/)
    assert.match(without.message, /i\.ts:2:16: "fs" is a module of Node\.js that functions do not have/)
    const withNodejs = await failure(make({ 'i.ts': code }, { nodejs: true }))
    assert.match(withNodejs.message, /"node:path" is a module of Node\.js that this version of skep does not have yet/)
    // A package of the same name is what the import means.
    const files = { 'i.ts': `import x from 'events'; export default x`, 'node_modules/events/index.js': `module.exports = 'npm'` }
    assert.equal((await run(files)).default, 'npm')
    // A library that only tries is left to try.
    const tried = await run({ 'i.js': `let fs; try { fs = require('fs') } catch { fs = 'none' }; export default { fs }` })
    assert.equal(tried.default.fs, 'none')
  })

  test('an import of a URL', async () => {
    const { message } = await failure(make({ 'i.ts': `import x from 'https://esm.sh/x'\nexport default x` }))
    assert.match(message, /i\.ts:1:15: Cannot import the URL "https:\/\/esm\.sh\/x"/)
  })

  test('long lines and control characters do not spoil the terminal', async () => {
    const { message } = await failure(make({ 'i.js': `${'a;'.repeat(50_000)}let \x1b[31m = 1;${'b;'.repeat(50_000)}` }))
    assert.ok(message.length < 1000)
    assert.ok(!message.includes('\x1b'))
    const many = await failure(make({ 'i.js': `let z\n`.repeat(1000) }))
    assert.ok(many.message.length < 30_000)
    assert.match(many.message, /… and 899 more$/)
  })

  test('a bundle over the limit names its biggest parts', async () => {
    const files = {
      'i.ts': `import a from './a.txt'; import b from './b.bin'; import './c.ts'; export default { a, b }`,
      'a.txt': 'a'.repeat(300_000),
      'b.bin': new Uint8Array(500_000),
      'c.ts': 'console.log(1)',
    }
    const { message, details } = await failure(make(files, { maxBytes: 700_000 }), 'bundle_too_large')
    assert.match(
      message,
      /^The bundle has .* the limit is 683\.6 kB\. The biggest parts:\n +488\.3 kB {2}[0-9a-f]{32}-b\.bin\n +293\.0 kB {2}a\.txt/,
    )
    assert.equal(details.allowed, 700_000)
    await failure(
      make({ 'i.ts': `import a from './a.txt'; export default a`, 'a.txt': 'é'.repeat(6_000_000) }),
      'bundle_too_large',
    )
  })

  test('a hostile package.json ends neither the process nor the build after it', async () => {
    const index = `import x from 'x'; export default x`
    const hostile = [
      '{"main":"../../../../../../../etc/passwd"}',
      '{"exports":{".":{"default":"../../../../etc/passwd"}}}',
      '{"exports":' + '{"a":'.repeat(5000) + '1' + '}'.repeat(5000) + '}',
      '{"name":{},"main":[],"browser":{"x":"x"},"sideEffects":{"a":1},"type":7,"exports":[[[]]],"imports":"#"}',
      '{"main":"./index","browser":{"./index":"./index","./a":"./b","./b":"./a"}}',
      '{',
      '\0\0\0',
    ]
    for (const json of hostile) await failure(make({ 'i.js': index, 'node_modules/x/package.json': json }))
    assert.equal(
      (await run({ 'i.js': 'export default 1', 'package.json': '{"type":"module","imports":{"#a":"#a"}}' })).default,
      1,
    )
    await failure(make({ 'i.js': `import '#a'; export default 1`, 'package.json': '{"imports":{"#a":"#b","#b":"#a"}}' }))
  })
})

describe('the same sources give the same bytes', () => {
  const sources = {
    'src/index.ts': `import esm from 'esm'; import common from 'common'; import '../index.ts'; import w from './w.wasm'; import page from './page'
      export default { esm, common, w, page, lazy: () => import('./lazy'), url: import.meta.url, fetch() { throw new Error('here') } }`,
    'index.ts': `console.log('a default here is named after its folder'); export default class {}`,
    'src/page/index.tsx': `/** @jsxImportSource esm */ export default <p/>`,
    'src/lazy.ts': `import { createRequire } from 'common'; export default () => createRequire`,
    'src/w.wasm': new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]),
  }
  const packages = {
    'esm/index.js': `import c from 'common'; export default c`,
    'esm/jsx-runtime.js': `export const jsx = (t) => t`,
    'esm/package.json': `{"name":"esm","browser":{"fs":false}}`,
    'common/package.json': `{"name":"common"}`,
    'common/index.js': `module.exports = require('./lib'); try { require('fs') } catch {}`,
    'common/lib/index.js': `exports.x = () => { throw new Error('in common') }`,
  }
  const under = (prefix: string, files: Record<string, string | Uint8Array>) =>
    Object.fromEntries(Object.entries(files).map(([name, content]) => [prefix + name, content]))

  const pick = (files: Record<string, string>, prefix: string) =>
    Object.fromEntries(
      Object.entries(files).flatMap(([name, content]) => (name.startsWith(prefix) ? [[name.slice(prefix.length), content]] : [])),
    )

  for (const minify of [true, false]) {
    test(`wherever they and their packages are; minify: ${minify}`, async () => {
      const at = join(scratch, `determinism-${minify}`)
      const link = (target: string, path: string) => symlinkSync(join(at, target), join(at, path))
      project({ ...sources, ...under('node_modules/', packages) }, join(at, 'one'))
      // Installed in a folder above.
      project(sources, join(at, 'deep/er/two'))
      project(under('node_modules/', packages), join(at, 'deep'))
      // Installed elsewhere.
      project(sources, join(at, 'three'))
      link('deep/node_modules', 'three/node_modules')
      // Each package linked, from a folder of another name; the project's folder is a link too.
      project(sources, join(at, 'real-four'))
      link('real-four', 'four')
      project(under('', packages), join(at, 'packages'))
      mkdirSync(join(at, 'four/node_modules'))
      link('packages', 'node_modules')
      for (const name of ['esm', 'common']) link(`packages/${name}`, `four/node_modules/${name}`)
      // As pnpm lays packages out.
      const store = (name: string) => under(`node_modules/.pnpm/${name}@1/node_modules/${name}/`, pick(packages, `${name}/`))
      project({ ...sources, ...store('esm'), ...store('common') }, join(at, 'five'))
      for (const path of ['five/node_modules', 'five/node_modules/.pnpm/esm@1/node_modules']) {
        link('five/node_modules/.pnpm/common@1/node_modules/common', `${path}/common`)
      }
      link('five/node_modules/.pnpm/esm@1/node_modules/esm', 'five/node_modules/esm')

      const bundles: Bundle[] = []
      for (const folder of ['one', 'deep/er/two', 'three', 'four', 'five']) {
        bundles.push((await bundle({ main: join(at, folder, 'src/index.ts') }, { minify })).bundle)
      }
      const [first] = bundles as [Bundle]
      assert.ok(!JSON.stringify(first).includes('determinism'))
      assert.ok(JSON.parse(first.sourceMap).sources.includes('node_modules/common/lib/index.js'))
      for (const made of bundles) {
        assert.equal(made.code, first.code)
        assert.equal(made.sourceMap, first.sourceMap)
        assert.equal(hashBytes(encodeBundle(made)), hashBytes(encodeBundle(first)))
      }
      // Frames in a package that was moved are mapped as exactly.
      for (const made of bundles) {
        const console = { log() {} }
        const { default: main } = evaluate(made, { console })
        const stack = stackOf(() => main.common.x())
        assert.match(createStackMapper(made.sourceMap, BUNDLE_FILENAME)(stack), /at .*common\/lib\/index\.js:1:27/)
      }
    })
  }
})

function stackOf(f: () => unknown): string {
  try {
    f()
  } catch (error) {
    return String((error as Error).stack)
  }
  return assert.fail('it did not throw')
}

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
