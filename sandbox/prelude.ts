import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const folder = import.meta.dirname
const BUILT = join(folder, 'prelude.gen.js')
const FILENAME = 'file:///skep/prelude.js'

export interface Prelude {
  code: string
  filename: string
}

/**
 * The guest's prelude as one classic script. The published package has it built; a checkout builds it from
 * `sandbox/guest/` when those files have changed, and keeps the result under `node_modules/.cache`.
 */
export async function loadPrelude(): Promise<Prelude> {
  if (!import.meta.filename.endsWith('.ts')) return { code: readFileSync(BUILT, 'utf8'), filename: FILENAME }
  const hash = createHash('sha256')
  const guest = join(folder, 'guest')
  for (const name of readdirSync(guest).sort())
    if (name.endsWith('.ts')) hash.update(name).update(readFileSync(join(guest, name)))
  for (const name of ['protocol.ts', 'prelude.ts']) hash.update(readFileSync(join(folder, name)))
  const cache = join(folder, '../node_modules/.cache/skep')
  const file = join(cache, `prelude-${hash.digest('hex').slice(0, 16)}.js`)
  try {
    return { code: readFileSync(file, 'utf8'), filename: FILENAME }
  } catch {
    const code = await buildPrelude()
    mkdirSync(cache, { recursive: true })
    // Several workers may build at once; each sees a whole file.
    writeFileSync(`${file}.${process.pid}`, code)
    renameSync(`${file}.${process.pid}`, file)
    return { code, filename: FILENAME }
  }
}

/**
 * Bound before tenant code runs, so that what the tenant does to these globals does not reach the prelude. `Date` and
 * `Function` are absent: the prelude itself replaces them.
 */
const INTRINSICS = [
  ...[
    'AggregateError',
    'Array',
    'ArrayBuffer',
    'BigInt',
    'BigInt64Array',
    'BigUint64Array',
    'Boolean',
    'DataView',
    'Error',
    'EvalError',
  ],
  ...[
    'FinalizationRegistry',
    'Float32Array',
    'Float64Array',
    'Int16Array',
    'Int32Array',
    'Int8Array',
    'Intl',
    'Iterator',
    'JSON',
    'Map',
    'Math',
  ],
  ...[
    'Number',
    'Object',
    'Promise',
    'Proxy',
    'RangeError',
    'ReferenceError',
    'Reflect',
    'RegExp',
    'Set',
    'String',
    'Symbol',
    'SyntaxError',
  ],
  ...['TypeError', 'URIError', 'Uint16Array', 'Uint32Array', 'Uint8Array', 'Uint8ClampedArray', 'WeakMap', 'WeakRef', 'WeakSet'],
]

export async function buildPrelude(): Promise<string> {
  const { build } = await import('esbuild')
  const result = await build({
    entryPoints: [join(folder, 'guest/main.ts')],
    bundle: true,
    format: 'iife',
    platform: 'neutral',
    mainFields: ['module', 'main'],
    target: 'es2024',
    minifyWhitespace: true,
    minifySyntax: true,
    // Interfaces have their names from their classes, and a bundler may rename a class.
    keepNames: true,
    // Strict, because V8 shows sloppy functions to a tenant's Error.prepareStackTrace.
    banner: { js: `"use strict";{const{${INTRINSICS.join()}}=globalThis;` },
    footer: { js: '}' },
    write: false,
    legalComments: 'none',
  })
  return result.outputFiles[0]!.text
}
