import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve, sep } from 'node:path'
import {
  decodedMappings,
  encodedMappings,
  TraceMap,
  type EncodedSourceMap,
  type SourceMapSegment,
} from '@jridgewell/trace-mapping'

/**
 * Takes the places of files out of what esbuild made: a dependency beside the project, above it or behind a symlink must
 * give the same bytes. Paths are in the sources of the map and, for a profiler's sake, in the code, as the key of the
 * object that holds each CommonJS module: `__commonJS({"../../elsewhere/node_modules/x/index.js"(exports) {…}})`.
 */
export async function placeless(root: string, code: string, map: string, inputs: ReadonlySet<string>, entry: InMemory) {
  const parsed = JSON.parse(map) as EncodedSourceMap
  const names = new Map<string, string>()
  const name = (input: string) => {
    if (!names.has(input)) names.set(input, nameOf(root, input, inputs.has(input)))
    return names.get(input)!
  }

  const edits: Edit[] = []
  let line = 0
  let lineStart = 0
  let lineEnd = code.indexOf('\n')
  const renamed = code.replace(KEY, (match: string, before: string, key: string, offset: number) => {
    const input = parseKey(key)
    if (input === undefined || !inputs.has(input)) return match
    const at = offset + before.length
    while (lineEnd >= 0 && lineEnd < at) {
      line++
      lineStart = lineEnd + 1
      lineEnd = code.indexOf('\n', lineStart)
    }
    const replacement = JSON.stringify(name(input))
    edits.push({ line, column: at - lineStart, growth: replacement.length - key.length })
    return `${before}${replacement}(`
  })
  const commented = renamed.replace(COMMENT, (match, indent: string, input: string) =>
    inputs.has(input) ? `${indent}// ${name(input)}` : match,
  )

  // esbuild writes them as URLs, and a colon after a dot.
  const files = parsed.sources.map((source) => decodeURIComponent(source ?? '').replace(/^\.\//, ''))
  const sources = files.map(name)
  const sourcesContent = await Promise.all(files.map((file) => contentOf(root, file, inputs, entry)))
  const mappings = edits.some((edit) => edit.growth !== 0) ? shift(parsed, edits) : parsed.mappings
  const sourceMap = JSON.stringify({ version: 3, sources, sourcesContent, names: parsed.names, mappings })
  return { code: commented, sourceMap }
}

interface InMemory {
  name: string
  code?: string
}

/** Only of what was bundled: the map of a package can name any file. */
async function contentOf(root: string, file: string, inputs: ReadonlySet<string>, entry: InMemory): Promise<string | null> {
  if (entry.code !== undefined && file === entry.name) return entry.code
  if (!inputs.has(file) || !/\.[cm]?[jt]sx?$/.test(file)) return null
  return readFile(resolve(root, file), 'utf8').catch(() => null)
}

const KEY = /(\b__(?:commonJS|esm)\d*\(\{\s*)("(?:[^"\\]|\\.)*")\(/g

/** What esbuild puts above each module where whitespace is kept. */
const COMMENT = /^([ \t]*)\/\/ (.+)$/gm

interface Edit {
  line: number
  column: number
  growth: number
}

function parseKey(key: string): string | undefined {
  try {
    return JSON.parse(key) as string
  } catch {
    return undefined
  }
}

/** Moves the mappings that are to the right of an edit. Edits are in the order of the code. */
function shift(map: EncodedSourceMap, edits: Edit[]): string {
  const lines = decodedMappings(new TraceMap(map)).map((line) => line.slice()) as SourceMapSegment[][]
  for (let first = 0; first < edits.length;) {
    const { line } = edits[first]!
    let next = first
    let growth = 0
    lines[line] = (lines[line] ?? []).map((segment) => {
      while (edits[next]?.line === line && edits[next]!.column < segment[0]) growth += edits[next++]!.growth
      const [column, ...rest] = segment
      return [column + growth, ...rest] as SourceMapSegment
    })
    while (edits[first]?.line === line) first++
  }
  return encodedMappings(new TraceMap({ ...map, mappings: lines }))
}

/**
 * In the project: the path from its folder. A package: from the innermost `node_modules`, whichever folder that is in and
 * however the package manager lays it out; one that is linked from elsewhere has the name it would have there.
 */
function nameOf(root: string, input: string, bundled: boolean): string {
  const [, disabled = '', path = ''] = /^(\(disabled\):)?(.*)$/s.exec(input)!
  if (path.startsWith('<')) return input
  const absolute = resolve(root, path)
  const inside = slashed(relative(root, absolute))
  const outside = inside.startsWith('../')
  const whole = outside ? slashed(absolute) : `/${inside}`
  const packages = whole.lastIndexOf('/node_modules/')
  if (packages >= 0) return disabled + whole.slice(packages + 1)
  // The map of a package names sources that only its author has.
  if (outside && !bundled) return basename(absolute)
  return disabled + (outside ? (nameOfLinked(root, absolute) ?? inside) : inside)
}

function nameOfLinked(root: string, file: string): string | undefined {
  for (let at = dirname(file); dirname(at) !== at; at = dirname(at)) {
    // In the repository around the project the relative path is the same on every machine.
    if (`${root}${sep}`.startsWith(`${at}${sep}`)) return undefined
    const name = packageName(join(at, 'package.json'))
    if (name !== undefined) return `node_modules/${name}/${slashed(relative(at, file))}`
  }
  return undefined
}

function packageName(file: string): string | undefined {
  try {
    const { name } = JSON.parse(readFileSync(file, 'utf8')) as { name?: unknown }
    return typeof name === 'string' && /^(@[\w.-]+\/)?[\w.-]+$/.test(name) ? name : undefined
  } catch {
    return undefined
  }
}

const slashed = (path: string) => path.split(sep).join('/')
