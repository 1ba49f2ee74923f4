import { isCollection, isMap, isPair, LineCounter, parseDocument } from 'yaml'
import type { Document } from 'yaml'
import { z } from 'zod'
import { SkepError } from './errors.ts'
import { suggestion } from './nearest.ts'

/** YAML files checked by a zod schema, with errors that name file, line, key and what is allowed there. */

type Path = readonly PropertyKey[]

/** Mistakes of a file that are told, as each costs a look through it; and characters of what is quoted in one. */
const MOST_MISTAKES = 50
const MOST_QUOTED = 80
/** Levels of nesting. No file of ours needs a tenth; what is deeper overflows the stack of whoever walks through it. */
const DEEPEST = 50

export interface YamlSource {
  file: string
  document: Document
  /** The line of an offset in the text. */
  line(offset: number): number
  /** `skep.host.yaml:3`: where a key is written; the file alone when it is not. */
  where(path: Path): string
}

/** Throws `invalid_config` with the line for text that is no YAML, or is nested too deeply. */
export function parseYaml(text: string, file: string): YamlSource {
  const lines = new LineCounter()
  const document = parseDocument_(text, file, lines)
  const [error] = document.errors
  if (error !== undefined) {
    const { line, col } = lines.linePos(error.pos[0])
    throw new SkepError('invalid_config', `${file}:${line}:${col}: ${error.message}`, { details: { file, line } })
  }
  if (isTooDeep(document.contents)) throw tooDeep(file)
  const line = (offset: number) => lines.linePos(offset).line
  const where = (path: Path): string => {
    const offset = offsetOf(document, path)
    return offset === undefined ? file : `${file}:${line(offset)}`
  }
  return { file, document, line, where }
}

function parseDocument_(text: string, file: string, lineCounter: LineCounter): Document.Parsed {
  try {
    return parseDocument(text, { lineCounter, prettyErrors: false })
  } catch (error) {
    // The parser recurses.
    if (error instanceof RangeError) throw tooDeep(file)
    throw error
  }
}

function tooDeep(file: string): SkepError {
  return new SkepError('invalid_config', `${file}: it is nested more than ${DEEPEST} levels deep.`)
}

function isTooDeep(contents: unknown): boolean {
  let level = [contents]
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > 2 * DEEPEST) return true
    // A pair is a level of its own.
    level = level.flatMap((node) => (isPair(node) ? [node.key, node.value] : isCollection(node) ? node.items : []))
  }
  return false
}

/** The document as a plain value. Throws `invalid_config` for aliases that lead nowhere, into themselves or to too much. */
export function toValue({ document, file }: YamlSource): unknown {
  let value: unknown
  try {
    value = document.toJS() ?? {}
  } catch (error) {
    throw new SkepError('invalid_config', `${file}: ${(error as Error).message}`, { cause: error })
  }
  if (containsItself(value, [])) throw new SkepError('invalid_config', `${file}: an alias stands within what it stands for.`)
  return value
}

function containsItself(value: unknown, within: unknown[]): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (within.includes(value)) return true
  return Object.values(value).some((inner) => containsItself(inner, [...within, value]))
}

/** The offset of the key of the path's last part, or of the nearest parent that is there. */
function offsetOf(document: Document, path: Path): number | undefined {
  let node: unknown = document.contents
  let offset: number | undefined
  for (const part of path) {
    if (isMap(node)) {
      const pair = node.items.find((item) => String(item.key) === String(part))
      if (pair === undefined) break
      offset = (pair.key as { range?: [number] }).range?.[0] ?? offset
      node = pair.value
    } else {
      node = (node as { items?: unknown[] } | null)?.items?.[Number(part)]
      if (node === undefined) break
      offset = (node as { range?: [number] } | null)?.range?.[0] ?? offset
    }
  }
  return offset
}

/** The document's value as the schema gives it. Throws `invalid_config` with a line for every mistake. */
export function checkYaml<T>(schema: z.ZodType<T>, source: YamlSource): T {
  const value = toValue(source)
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const mistakes: string[] = []
  for (const issue of result.error.issues) {
    mistakes.push(...describeIssue(schema, issue, value, source.where))
    if (mistakes.length > MOST_MISTAKES) break
  }
  throw invalid(mistakes)
}

/** One error for the mistakes of a file: all of them, or so many that nobody reads on. */
export function invalid(all: string[]): SkepError {
  const mistakes = all.slice(0, MOST_MISTAKES)
  if (mistakes.length < all.length) mistakes.push('… and more.')
  return new SkepError('invalid_config', mistakes.join('\n'), { details: { mistakes } })
}

function describeIssue(schema: z.ZodType, issue: z.core.$ZodIssue, input: unknown, where: (path: Path) => string): string[] {
  const at = schemaAt(schema, issue.path)
  const path = clip(issue.path.join('.'))
  if (issue.code === 'unrecognized_keys') {
    const known = at instanceof z.ZodObject ? Object.keys(at.shape) : []
    return issue.keys.slice(0, MOST_MISTAKES + 1).map((key) => {
      const full = [...issue.path, key]
      return `${where(full)}: unknown key ${clip(full.join('.'))}.${suggestion(key, known)}`
    })
  }
  const given = valueAt(input, issue.path)
  if (issue.code === 'custom' || at === undefined) return [`${where(issue.path)}: ${path}: ${issue.message}`]
  if (given === undefined) return [`${where(issue.path)}: ${path} is missing.`]
  return [`${where(issue.path)}: ${path || 'the file'} must be ${describeSchema(at)}, not ${shown(given)}.`]
}

export function shown(value: unknown): string {
  return clip(typeof value === 'number' ? String(value) : (JSON.stringify(value) ?? String(value)))
}

function clip(text: string): string {
  return text.length > MOST_QUOTED ? `${text.slice(0, MOST_QUOTED)}…` : text
}

/** What may stand there, in words: 'a whole number from 0 to 65535'. */
export function describeSchema(schema: z.ZodType): string {
  const bare = unwrap(schema)
  if (bare instanceof z.ZodNumber) return `a ${bare.isInt ? 'whole ' : ''}number${range(bare)}`
  if (bare instanceof z.ZodBoolean) return 'true or false'
  if (bare instanceof z.ZodEnum) return `one of ${bare.options.join(', ')}`
  if (bare instanceof z.ZodArray) return 'a list'
  if (bare instanceof z.ZodObject) return `a group of keys (${Object.keys(bare.shape).join(', ')})`
  if (bare instanceof z.ZodRecord) return 'a group of keys'
  if (bare instanceof z.ZodURL) return 'a URL'
  return 'text'
}

function range(schema: z.ZodNumber): string {
  const checks = (schema.def.checks ?? []).map(
    (check) => check._zod.def as { check: string; value?: number; inclusive?: boolean },
  )
  const least = checks.find(({ check }) => check === 'greater_than')
  const most = checks.find(({ check }) => check === 'less_than')
  if (least === undefined) return most === undefined ? '' : ` up to ${most.value}`
  if (!least.inclusive) return ` above ${least.value}${most === undefined ? '' : `, up to ${most.value}`}`
  return most === undefined ? ` of ${least.value} or more` : ` from ${least.value} to ${most.value}`
}

/** The schema without its defaults, preprocessing and optionality. */
export function unwrap(schema: z.ZodType): z.ZodType {
  if (schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault || schema instanceof z.ZodOptional) {
    return unwrap(schema.def.innerType as z.ZodType)
  }
  return schema instanceof z.ZodPipe ? unwrap(schema.def.out as z.ZodType) : schema
}

function schemaAt(schema: z.ZodType, path: Path): z.ZodType | undefined {
  let at: z.ZodType | undefined = unwrap(schema)
  for (const part of path) {
    if (at instanceof z.ZodObject) at = at.shape[String(part)] as z.ZodType | undefined
    else if (at instanceof z.ZodRecord) at = at.valueType as z.ZodType
    else if (at instanceof z.ZodArray) at = at.element as z.ZodType
    else return undefined
    if (at === undefined) return undefined
    at = unwrap(at)
  }
  return at
}

function valueAt(value: unknown, path: Path): unknown {
  return path.reduce((at, part) => (at as Record<PropertyKey, unknown> | null | undefined)?.[part], value)
}
