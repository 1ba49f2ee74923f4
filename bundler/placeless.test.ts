import assert from 'node:assert/strict'
import { mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { encodeBundle, hashBytes, type Bundle } from './artifact.ts'
import { bundle, BUNDLE_FILENAME } from './bundle.ts'
import { createStackMapper } from './source-map.ts'
import { evaluate, project, scratch, stackOf } from './_fixture.ts'

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
