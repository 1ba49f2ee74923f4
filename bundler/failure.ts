import { isBuiltin } from 'node:module'
import type { Message } from 'esbuild'
import { SkepError } from '../host/errors.ts'

export type { Message }

export interface BundleError {
  /** Relative to the project's folder; '' where the error has no place. */
  file: string
  /** From 1, as editors count; 0 where the error has no place. */
  line: number
  /** From 1, in UTF-16 units. */
  column: number
  text: string
  lineText: string
  notes: string[]
}

/** A generated file with an error on each of a hundred thousand lines is not worth a hundred thousand messages. */
const MAX_ERRORS = 100

/** The generated module that imports the entry. */
export const GENERATED = 'skep:entry'
const NO_DEFAULT_EXPORT = 'The function has no default export: it needs "export default { fetch(request, env, ctx) { … } }"'

export function noDefaultExport(entry: string): SkepError {
  const error = { file: entry, line: 1, column: 1, text: NO_DEFAULT_EXPORT, lineText: '', notes: [] }
  return failed(entry, [error], 1)
}

export function awaitsAtTopLevel(message: Message): boolean {
  return message.text.startsWith('Top-level await is currently not supported with the "iife"')
}

export function bundleFailed(entry: string, messages: Message[]): SkepError {
  return failed(
    entry,
    messages.slice(0, MAX_ERRORS).map((message) => describe(message, entry)),
    messages.length,
  )
}

function failed(entry: string, errors: BundleError[], count: number): SkepError {
  const total = count === 1 ? '' : ` (${count} errors)`
  const more = count > errors.length ? `\n\n… and ${count - errors.length} more` : ''
  return new SkepError('bundle_failed', `Cannot bundle ${entry}${total}:\n\n${errors.map(format).join('\n\n')}${more}`, {
    details: { errors },
  })
}

export function formatMessage(message: Message): string {
  return format(describe(message, ''))
}

function describe({ text, location, notes }: Message, entry: string): BundleError {
  const advice = notes
    .filter((note) => !/as external to exclude|platform: ['"]node['"]/.test(note.text))
    .map((note) => (note.location ? `${note.text} ${note.location.file}:${note.location.line}` : note.text))
  const [, unresolved] = /^Could not resolve "(.+)"$/s.exec(text) ?? []
  const place = { file: '', line: 0, column: 0, lineText: '' }
  if (location) {
    const lineText = location.lineText
    place.file = location.file.replace(/^code:/, '')
    place.line = location.line
    // esbuild counts bytes of UTF-8.
    place.column = Buffer.from(lineText).subarray(0, location.column).toString().length + 1
    place.lineText = lineText
  }
  if (place.file === GENERATED) {
    Object.assign(place, { file: entry, line: 1, column: 1, lineText: '' })
    if (text.startsWith('No matching export')) return { ...place, text: NO_DEFAULT_EXPORT, notes: [] }
  }
  if (unresolved !== undefined && isBuiltin(unresolved)) return { ...place, text: builtin(unresolved), notes: [] }
  if (unresolved !== undefined && /^(@[\w.-]+\/)?[\w-][\w.-]*(\/|$)/.test(unresolved) && advice.length === 0) {
    const name = unresolved.split('/', unresolved.startsWith('@') ? 2 : 1).join('/')
    advice.push(`If it is a package of npm, install it: npm install ${name}`)
  }
  return { ...place, text, notes: advice }
}

/** What the contract names. The rest of Node.js makes no sense on an edge host. */
const PLANNED = new Set(
  'buffer events util path assert url querystring string_decoder stream crypto async_hooks timers process'.split(' '),
)

function builtin(specifier: string): string {
  const name = specifier.replace(/^node:/, '')
  const module = `"${specifier}" is a module of Node.js`
  if (!PLANNED.has(name.split('/')[0]!)) return `${module} that functions do not have`
  return `${module} that this version of skep does not have yet`
}

function format({ file, line, column, text, lineText, notes }: BundleError): string {
  const place = file === '' ? '' : `${file}:${line}:${column}: `
  return [`${place}${printable(text)}`, ...excerpt(lineText, column - 1), ...notes.map((note) => `  ${printable(note)}`)].join(
    '\n',
  )
}

/** The line and a caret below; of a long line, such as minified code, the part around the caret. */
function excerpt(lineText: string, column: number): string[] {
  if (lineText.trim() === '') return []
  const start = Math.max(0, column - 80)
  const line = printable(lineText.slice(start, start + 160))
  const indent = line.slice(0, column - start).replace(/[^\t]/g, ' ')
  return [`  ${line}`, `  ${indent}^`]
}

/** Control characters in a source must not reach the terminal that shows its error. */
function printable(text: string): string {
  return text.slice(0, 1000).replace(/[^\P{Cc}\t]/gu, '\ufffd')
}
