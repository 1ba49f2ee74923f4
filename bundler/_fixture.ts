import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after } from 'node:test'
import vm from 'node:vm'
import { SkepError, type ErrorCode } from '../host/errors.ts'
import type { Bundle } from './artifact.ts'
import { bundle, BUNDLE_FILENAME, closeBundler, type BundleOptions } from './bundle.ts'
import type { BundleError } from './failure.ts'

// Of the runtime, not of the Node.js types.
export const { WebAssembly } = globalThis as any
export const scratch = realpathSync(mkdtempSync(join(tmpdir(), 'skep-bundler-')))
after(async () => {
  rmSync(scratch, { recursive: true })
  await closeBundler()
})

let folders = 0
export function project(files: Record<string, string | Uint8Array>, at = join(scratch, `project-${folders++}`)): string {
  for (const [name, content] of Object.entries({ 'package.json': '{}', ...files })) {
    mkdirSync(dirname(join(at, name)), { recursive: true })
    writeFileSync(join(at, name), content)
  }
  return at
}

export const make = async (files: Record<string, string | Uint8Array>, options?: BundleOptions) =>
  (await bundle({ main: join(project(files), Object.keys(files)[0]!) }, options)).bundle

/** What the sandbox does: runs the classic script, with the binary modules in a free variable. */
export function evaluate({ code, modules }: Bundle, globals: Record<string, unknown> = {}): any {
  const __skep_modules: Record<string, unknown> = {}
  for (const [name, bytes] of Object.entries(modules)) {
    const buffer = new Uint8Array(bytes).buffer
    __skep_modules[name] = name.endsWith('.wasm') ? new WebAssembly.Module(buffer) : buffer
  }
  const context = vm.createContext({ __skep_modules, ...globals })
  return vm.runInContext(code, context, { filename: BUNDLE_FILENAME })
}

export const run = async (files: Record<string, string | Uint8Array>, options?: BundleOptions) =>
  evaluate(await make(files, options))

export async function failure(made: Promise<unknown>, code: ErrorCode = 'bundle_failed') {
  const error = await made.then(
    () => assert.fail('it was bundled'),
    (error: unknown) => error,
  )
  assert.ok(error instanceof SkepError, String(error))
  assert.equal(error.code, code)
  return { message: error.message, errors: (error.details?.errors ?? []) as BundleError[], details: error.details! }
}

export function stackOf(f: () => unknown): string {
  try {
    f()
  } catch (error) {
    return String((error as Error).stack)
  }
  return assert.fail('it did not throw')
}
