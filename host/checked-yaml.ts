import { isMap, LineCounter, parseDocument } from 'yaml'
import type { Document } from 'yaml'
import { z } from 'zod'
import { SkepError } from './errors.ts'
import { suggestion } from './nearest.ts'

/** YAML files checked by a zod schema, with errors that name file, line, key and what is allowed there. */

type Path = readonly PropertyKey[]

export interface YamlSource {
  document: Document
  /** `skep.host.yaml:3`: where a key is written; the file alone when it is not. */
  where(path: Path): string
}

/** Throws `invalid_config` with the line for text that is no YAML. */
export function parseYaml(text: string, file: string): YamlSource {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const [error] = document.errors
  if (error !== undefined) {
    const { line, col } = lines.linePos(error.pos[0])
    throw new SkepError('invalid_config', `${file}:${line}:${col}: ${error.message}`, { details: { file, line } })
  }
  const where = (path: Path): string => {
    const offset = offsetOf(document, path)
    return offset === undefined ? file : `${file}:${lines.linePos(offset).line}`
  }
  return { document, where }
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
  const value: unknown = source.document.toJS() ?? {}
  const result = schema.safeParse(value)
  if (result.success) return result.data
  throw invalid(result.error.issues.flatMap((issue) => describeIssue(schema, issue, value, source.where)))
}

/** One error for all mistakes of a file. */
export function invalid(mistakes: string[]): SkepError {
  return new SkepError('invalid_config', mistakes.join('\n'), { details: { mistakes } })
}

function describeIssue(schema: z.ZodType, issue: z.core.$ZodIssue, input: unknown, where: (path: Path) => string): string[] {
  const at = schemaAt(schema, issue.path)
  const path = issue.path.join('.')
  if (issue.code === 'unrecognized_keys') {
    const known = at instanceof z.ZodObject ? Object.keys(at.shape) : []
    return issue.keys.map((key) => {
      const full = [...issue.path, key]
      return `${where(full)}: unknown key ${full.join('.')}.${suggestion(key, known)}`
    })
  }
  const given = valueAt(input, issue.path)
  if (issue.code === 'custom' || at === undefined) return [`${where(issue.path)}: ${path}: ${issue.message}`]
  if (given === undefined) return [`${where(issue.path)}: ${path} is missing.`]
  return [`${where(issue.path)}: ${path || 'the file'} must be ${describeSchema(at)}, not ${shown(given)}.`]
}

export function shown(value: unknown): string {
  const text = typeof value === 'number' ? String(value) : (JSON.stringify(value) ?? String(value))
  return text.length > 80 ? `${text.slice(0, 80)}…` : text
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
