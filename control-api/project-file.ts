import { isScalar, visit } from 'yaml'
import { z } from 'zod'
import { checkYaml, invalid, parseYaml } from '../host/checked-yaml.ts'
import type { YamlSource } from '../host/checked-yaml.ts'
import { checkHostname, checkName, versionSettings } from '../host/records.ts'
import { SkepError } from '../host/errors.ts'
import { limitSchema } from '../host/limit-schemas.ts'
import { pick, VERSION_LIMIT_NAMES } from '../sandbox/limits.ts'
import type { VersionLimitName } from '../sandbox/limits.ts'

/** The project file that is read when none is named. */
export const PROJECT_FILE = 'skep.yaml'

/** Keys of the format that this version does not do anything with, and so does not take. */
const LATER = ['secrets', 'triggers', 'bindings']

/** A number within the limit's range, or the text of one: what `${NAME}` stands for is text. */
const limit = (name: VersionLimitName) =>
  z.preprocess((value) => (typeof value === 'string' && /^\d+(\.\d+)?$/.test(value) ? Number(value) : value), limitSchema(name))
const flag = z.preprocess((value) => (value === 'true' ? true : value === 'false' ? false : value), z.boolean())

const functionSchema = z.strictObject({
  main: z.string().min(1),
  hosts: z.array(checked(checkHostname)).default([]),
  vars: versionSettings.shape.vars,
  nodejs: flag.default(false),
  limits: z.strictObject(pick(VERSION_LIMIT_NAMES, limit)).partial().default({}),
  secrets: z.unknown().optional(),
  triggers: z.unknown().optional(),
  bindings: z.unknown().optional(),
})

const projectSchema = z.strictObject({ functions: z.record(z.string(), functionSchema) })

export interface ProjectFunction {
  name: string
  /** As written: relative to the project file. */
  main: string
  hosts: string[]
  vars: Record<string, string>
  nodejs: boolean
  limits: z.infer<typeof versionSettings>['limits']
}

/**
 * The functions of a `skep.yaml`. `${NAME}` and `${NAME:-default}` within values come from `env`; `$${` is a plain `${`.
 * Throws `invalid_config`, naming each mistake with its line.
 */
export function parseProject(text: string, file: string, env: Record<string, string | undefined>): ProjectFunction[] {
  const source = parseYaml(text, file)
  substitute(source, env)
  const { functions } = checkYaml(projectSchema, source)
  const mistakes: string[] = []
  for (const [name, given] of Object.entries(functions)) {
    const nameMistake = failure(() => checkName('function', name))
    if (nameMistake !== undefined) mistakes.push(`${source.where(['functions', name])}: ${nameMistake}`)
    for (const key of LATER) {
      if (!(key in given)) continue
      mistakes.push(
        `${source.where(['functions', name, key])}: ${key} is not supported yet by this version of skep. Take it out to deploy ${name}.`,
      )
    }
  }
  if (Object.keys(functions).length === 0) mistakes.push(`${file}: functions has no function.`)
  if (mistakes.length > 0) throw invalid(mistakes)
  return Object.entries(functions).map(([name, { main, hosts, vars, nodejs, limits }]) => {
    const set = Object.entries(limits).filter(([, value]) => value !== undefined)
    return { name, main, hosts, vars, nodejs, limits: Object.fromEntries(set) }
  })
}

/** Values alone are replaced, after parsing: what a variable holds cannot become YAML. */
function substitute(source: YamlSource, env: Record<string, string | undefined>): void {
  const { file } = source
  const mistakes: string[] = []
  visit(source.document, {
    Scalar(key, node) {
      if (key === 'key' || !isScalar(node) || typeof node.value !== 'string' || !node.value.includes('${')) return
      const line = source.line(node.range?.[0] ?? 0)
      node.value = node.value.replace(/\$\$\{|\$\{([^}]*)(\}?)/g, (whole, inside?: string, end?: string) => {
        if (inside === undefined) return '${'
        const parts = end === '}' ? /^([A-Za-z_]\w*)(?::-([\s\S]*))?$/.exec(inside) : null
        if (parts === null) {
          mistakes.push(
            `${file}:${line}: ${whole} is no variable. Write \${NAME} or \${NAME:-default}, and $\${ for a plain \${.`,
          )
          return whole
        }
        const [, name, fallback] = parts as unknown as [string, string, string | undefined]
        const value = env[name]
        if (value !== undefined && (value !== '' || fallback === undefined)) return value
        if (fallback === undefined)
          mistakes.push(`${file}:${line}: the environment has no variable ${name}. Set it, or write \${${name}:-default}.`)
        return fallback ?? whole
      })
    },
  })
  if (mistakes.length > 0) throw invalid(mistakes)
}

function checked(check: (value: string) => string) {
  return z.string().check((context) => {
    const message = failure(() => check(context.value))
    if (message !== undefined) context.issues.push({ code: 'custom', input: context.value, message })
  })
}

function failure(act: () => unknown): string | undefined {
  try {
    act()
    return undefined
  } catch (error) {
    if (error instanceof SkepError) return error.message
    throw error
  }
}
