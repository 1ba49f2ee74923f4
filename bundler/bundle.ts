import { existsSync, statSync } from 'node:fs'
import { realpath } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve, sep } from 'node:path'
import type { BuildOptions, BuildResult, Loader } from 'esbuild'
import { SkepError } from '../host/errors.ts'
import { DEFAULT_LIMITS } from '../sandbox/limits.ts'
import { encodeBundle, type Bundle } from './artifact.ts'
import { awaitsAtTopLevel, bundleFailed, formatMessage, GENERATED, noDefaultExport, type Message } from './failure.ts'
import { placeless } from './placeless.ts'
import { binaryPlugin, codePlugin, TARGET, urlPlugin, type Entry } from './plugins.ts'
import { tooLarge } from './size.ts'

/** A file, or code that is in memory; code without a `resolveDir` can import nothing. */
export type BundleSource = { main: string } | { code: string; filename?: string; resolveDir?: string }

export interface BundleOptions {
  nodejs?: boolean
  /** Drops whitespace and shortens syntax; names are kept, for the sake of error messages. Default true. */
  minify?: boolean
  /** Of the encoded bundle. Default: the limit of the contract. */
  maxBytes?: number
}

export interface BundleResult {
  bundle: Bundle
  /** One text each, with place and source line. */
  warnings: string[]
  /** Absolute paths of the files that were read; what to watch. */
  inputs: string[]
}

/** Where the sandbox says the script is from. Stack frames and `import.meta.url` carry it. */
export const BUNDLE_FILENAME = 'file:///bundle.js'

const LOADERS: Record<string, Loader> = { '.txt': 'text', '.html': 'text', '.css': 'text', '.sql': 'text' }

/** Bundles a function. Throws `bundle_failed` with every error that was found, or `bundle_too_large`. */
export async function bundle(source: BundleSource, options: BundleOptions = {}): Promise<BundleResult> {
  const entry = await findEntry(source)
  const nodejs = options.nodejs ?? false
  const modules = new Map<string, Uint8Array>()
  const settings = buildOptions(entry, modules, options.minify ?? true)
  const built = await build(settings, false, (messages) => bundleFailed(entry.name, messages))

  const { result, async } = built
  const format = result.metafile.inputs[entry.input]?.format
  // A file without a single import or export counts as CommonJS that exports nothing.
  if (format === undefined) throw noDefaultExport(entry.name)

  const output = (suffix: string) => result.outputFiles.find((file) => file.path.endsWith(suffix))!.text
  const inputNames = new Set(Object.keys(result.metafile.inputs))
  const { code, sourceMap } = await placeless(entry.root, output('.js'), output('.js.map'), inputNames, entry)
  const made: Bundle = { code, async, modules: Object.create(null), sourceMap, nodejs }
  // What esbuild shook off the tree has left no reference.
  for (const name of [...modules.keys()].sort()) if (code.includes(name)) made.modules[name] = modules.get(name)!

  const maxBytes = options.maxBytes ?? DEFAULT_LIMITS.bundleBytes
  const bytes = encodeBundle(made).length
  if (bytes > maxBytes) throw tooLarge(made, bytes, maxBytes, result.metafile)

  const inputs = [...inputNames]
    .map((input) => resolve(entry.root, input.replace('(disabled):', '')))
    .filter((path) => existsSync(path))
  return { bundle: made, warnings: result.warnings.map((warning) => formatMessage(warning)), inputs }
}

/** Ends esbuild's process, which otherwise waits, unreferenced, for the next build. A later `bundle` starts another. */
export async function closeBundler(): Promise<void> {
  await (await import('esbuild')).stop()
}

async function findEntry(source: BundleSource): Promise<Entry> {
  if ('code' in source) {
    const name = basename(source.filename ?? 'index.ts')
    const { code, resolveDir } = source
    if (resolveDir === undefined) return { root: resolve('/'), name, specifier: 'skep:main', input: `code:${name}`, code }
    const root = await realpath(resolveDir)
    return { root, name, specifier: 'skep:main', input: name, code, resolveDir: root }
  }
  const path = resolve(source.main)
  const file = await realpath(path).catch(() => undefined)
  if (file === undefined || !statSync(file).isFile()) {
    const why = file === undefined ? 'there is no such file' : 'it is not a file'
    const error = { file: source.main, line: 0, column: 0, text: why, lineText: '', notes: [] }
    throw new SkepError('bundle_failed', `Cannot bundle ${path}: ${why}.`, { details: { errors: [error] } })
  }
  const root = findRoot(dirname(file))
  const name = relative(root, file).split(sep).join('/')
  return { root, name, specifier: `./${name}`, input: name }
}

/** The nearest folder with a package.json or a skep.yaml, else the entry's own. */
function findRoot(folder: string): string {
  for (let at = folder; ; at = dirname(at)) {
    if (existsSync(join(at, 'package.json')) || existsSync(join(at, 'skep.yaml'))) return at
    if (dirname(at) === at) return folder
  }
}

function buildOptions(entry: Entry, modules: Map<string, Uint8Array>, minify: boolean) {
  // The generated module hands out the namespace of the entry. The default import is there to fail where there is none.
  const from = JSON.stringify(entry.specifier)
  const contents = `import * as ns from ${from}; import main from ${from}; __skep_exports = (main, ns)`
  return {
    stdin: { contents, resolveDir: entry.root, sourcefile: GENERATED },
    plugins: [codePlugin(entry), urlPlugin, binaryPlugin(modules)],
    absWorkingDir: entry.root,
    // Names that esbuild makes up from folders then leave out those above the project.
    outbase: entry.root,
    outfile: join(entry.root, 'bundle.js'),
    write: false,
    bundle: true,
    metafile: true,
    sourcemap: 'external',
    // For the map of a package esbuild would read whatever file that names; `placeless` puts in what was bundled.
    sourcesContent: false,
    legalComments: 'none',
    charset: 'utf8',
    logLevel: 'silent',
    target: TARGET,
    // As wrangler resolves: a package's build for Workers, else for service workers, else for browsers.
    platform: 'browser',
    conditions: ['workerd', 'worker', 'browser'],
    mainFields: ['browser', 'module', 'main'],
    jsx: 'automatic',
    loader: LOADERS,
    minifySyntax: minify,
    minifyWhitespace: minify,
    define: {
      'process.env.NODE_ENV': '"production"',
      'import.meta.url': JSON.stringify(BUNDLE_FILENAME),
      'import.meta': '__skep_meta',
    },
    // `import(variable)` then calls the `require` of the wrapper, which says what is wrong.
    supported: { 'dynamic-import': false },
  } satisfies BuildOptions
}

type Built = BuildResult<{ write: false; metafile: true }>

/**
 * esbuild's own wrapper refuses `await` at the top level, so that such a bundle is built once more, as a module, whose
 * text is the body of an async function: it has no imports or exports left.
 */
async function build(
  settings: ReturnType<typeof buildOptions>,
  async: boolean,
  failed: (messages: Message[]) => SkepError,
): Promise<{ result: Built; async: boolean }> {
  try {
    const wrapper = async ? ASYNC_WRAPPER : WRAPPER
    return { result: await run({ ...settings, ...wrapper, format: async ? 'esm' : 'iife' }), async }
  } catch (error) {
    const messages = (error as { errors?: Message[] }).errors
    if (!Array.isArray(messages)) throw error
    if (!async && messages.some(awaitsAtTopLevel)) return build(settings, true, failed)
    throw failed(messages)
  }
}

async function run(options: BuildOptions): Promise<Built> {
  const esbuild = await import('esbuild')
  try {
    return (await esbuild.build(options)) as Built
  } catch (error) {
    // esbuild's process can be killed, as by a system short of memory. Every later build would fail; a new one is begun.
    if (!/The service (was stopped|is no longer running)|EPIPE/.test(String(error))) throw error
    await esbuild.stop()
    return (await esbuild.build(options)) as Built
  }
}

// The outer function keeps `require` apart from a `require` that the tenant's code declares at its own top level.
const REQUIRE =
  'const require=name=>{throw new Error(`Cannot import "${name}": it was not known when the function was bundled. Import it by a literal name.`)};'
const META = `const __skep_require=require,__skep_meta={__proto__:null,url:${JSON.stringify(BUNDLE_FILENAME)}};let __skep_exports;`
const wrapper = (keyword: string) => ({
  banner: { js: `(()=>{${REQUIRE}return(${keyword}()=>{"use strict";${META}` },
  footer: { js: 'return __skep_exports})()})()' },
})
const WRAPPER = wrapper('')
const ASYNC_WRAPPER = wrapper('async')
