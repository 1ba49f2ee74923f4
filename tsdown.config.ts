import { copyFileSync, writeFileSync } from 'node:fs'
import { defineConfig } from 'tsdown'
import { buildPrelude } from './sandbox/prelude.ts'

/** One output file per source file: the tree of `dist/` is that of the repository, and processes find their entries in it. */
export default defineConfig({
  entry: ['host/index.ts', 'host/worker-main.ts', 'sandbox/cell-main.ts', 'control-api/cli/main.ts'],
  format: 'esm',
  platform: 'node',
  target: 'node24',
  unbundle: true,
  fixedExtension: false,
  dts: { resolver: 'tsc' },
  outDir: 'dist',
  hooks: {
    'build:done': async () => {
      writeFileSync('dist/sandbox/prelude.gen.js', await buildPrelude())
      copyFileSync('control-api/openapi.json', 'dist/control-api/openapi.json')
    },
  },
})
