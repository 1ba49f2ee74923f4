/** Bundles the Web APIs, makes a snapshot of them, and runs the checks in a context made from it. Needs `--no-node-snapshot`. */
import { build } from 'esbuild'
import ivm from 'isolated-vm'
import { readFileSync } from 'node:fs'

const here = import.meta.dirname
const { outputFiles, metafile } = await build({
  entryPoints: [`${here}/isolate-entry.ts`],
  bundle: true,
  write: false,
  minify: true,
  format: 'iife',
  target: 'es2024',
  banner: { js: '"use strict";' },
  metafile: true,
})
const prelude = outputFiles[0]!.text
const snapshot = ivm.Isolate.createSnapshot([{ code: prelude, filename: 'prelude.js' }])
const checks = readFileSync(`${here}/isolate-checks.js`, 'utf8')

const isolate = new ivm.Isolate({ memoryLimit: 64, snapshot })
const context = isolate.createContextSync()
const report = JSON.parse((await context.eval(checks, { promise: true, copy: true })) as string) as {
  failures: string[]
  late: string[]
}
isolate.dispose()

const times: number[] = []
for (let i = 0; i < 30; i++) {
  const start = performance.now()
  const blank = new ivm.Isolate({ memoryLimit: 64, snapshot })
  blank.createContextSync()
  times.push(performance.now() - start)
  blank.dispose()
}
times.sort((a, b) => a - b)
const bytes = Object.fromEntries(
  Object.entries(Object.values(metafile.outputs)[0]!.inputs).map(([path, input]) => [
    path.split('/').at(-1)!,
    input.bytesInOutput,
  ]),
)
console.log(
  JSON.stringify({
    ...report,
    preludeBytes: prelude.length,
    snapshotBytes: new Uint8Array((snapshot as unknown as { copy(): ArrayBuffer }).copy()).byteLength,
    startMs: times[15],
    bytes,
  }),
)
