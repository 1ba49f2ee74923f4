import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { basename, extname, join } from 'node:path'
import type { Loader, Plugin } from 'esbuild'
import type { Message } from './failure.ts'

// The isolate's V8 is the one of Node 24.
export const TARGET = 'node24'

export interface Entry {
  /** The project's folder; all paths are relative to it. */
  root: string
  /** As messages name it: relative to the project's folder. */
  name: string
  /** What the generated module imports. */
  specifier: string
  /** Its key in esbuild's metafile. */
  input: string
  code?: string
  resolveDir?: string
}

/** Serves the code that is in memory. */
export function codePlugin({ name, root, code, resolveDir }: Entry): Plugin {
  return {
    name: 'skep-code',
    setup(build) {
      if (code === undefined) return
      const namespace = resolveDir === undefined ? 'code' : 'file'
      const path = resolveDir === undefined ? name : join(root, name)
      build.onResolve({ filter: /^skep:main$/ }, () => ({ path, namespace }))
      if (resolveDir === undefined) build.onResolve({ filter: /.*/ }, (args) => ({ errors: [unresolved(args.path)] }))
      build.onLoad({ filter: /.*/, namespace }, (args) => {
        if (args.path !== path) return undefined
        if (resolveDir !== undefined) return { contents: code, loader: 'default', resolveDir }
        return withoutRequire(code, name).then(
          (contents) => ({ contents, loader: 'js' }),
          ({ errors }: { errors: Message[] }) => ({ errors }),
        )
      })
    },
  }
}

const unresolved = (path: string) => ({
  text: `Could not resolve "${path}"`,
  notes: [{ text: 'Code that is given without a folder can import nothing' }],
})

/**
 * Code without a folder may be a stranger's, and plugins are not asked about a pattern such as `import('../' + name)`, which
 * esbuild looks up from the working directory. So no `import()` and no `require` reach the bundler:
 * the first pass makes the former the latter, the second gives that another name. `transform` does not read files.
 */
async function withoutRequire(code: string, name: string): Promise<string> {
  const { transform } = await import('esbuild')
  const common = {
    format: 'esm',
    target: TARGET,
    sourcefile: name,
    sourcemap: 'inline',
    sourcesContent: false,
    logLevel: 'silent',
  } as const
  const loader = LOADER_OF[extname(name)] ?? 'ts'
  const first = await transform(code, { ...common, loader, jsx: 'automatic', supported: { 'dynamic-import': false } })
  const second = await transform(first.code, { ...common, loader: 'js', define: { require: '__skep_require' } })
  return second.code
}

const LOADER_OF: Record<string, Loader> = { '.js': 'js', '.mjs': 'js', '.jsx': 'jsx', '.ts': 'ts', '.mts': 'ts', '.tsx': 'tsx' }

/** esbuild leaves an import of a URL to the run time, where nothing can load it. */
export const urlPlugin: Plugin = {
  name: 'skep-url',
  setup(build) {
    build.onResolve({ filter: /^(https?:)?\/\// }, (args) => {
      if (args.kind !== 'import-statement') return undefined
      return { errors: [{ text: `Cannot import the URL "${args.path}": install the package from npm, or copy the file` }] }
    })
  },
}

/** Keeps binary modules out of the script. Their names are made of what they hold, not of where they are. */
export function binaryPlugin(modules: Map<string, Uint8Array>): Plugin {
  return {
    name: 'skep-binary',
    setup(build) {
      build.onLoad({ filter: /\.(wasm|bin)$/ }, async (args) => {
        const bytes = await readFile(args.path)
        const hash = createHash('sha256').update(bytes).digest('hex')
        const name = `${hash.slice(0, 32)}-${basename(args.path).replace(/[^\w.-]/g, '_')}`
        modules.set(name, bytes)
        return { contents: `export default __skep_modules[${JSON.stringify(name)}]`, loader: 'js' }
      })
    },
  }
}
