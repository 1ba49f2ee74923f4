import { readFile } from 'node:fs/promises'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { z } from 'zod'
import { checkYaml, describeSchema, invalid, parseYaml, shown, toValue, unwrap } from './checked-yaml.ts'
import { configSchema } from './config.ts'
import type { Config } from './config.ts'
import { SkepError } from './errors.ts'
import { nearest } from './nearest.ts'

/** The configuration file that is read when none is named. */
export const CONFIG_FILE = 'skep.host.yaml'

/** Variables of the command line and of the tests: no settings. */
const OTHER_VARIABLES = new Set(['SKEP_API_URL', 'SKEP_TOKEN', 'SKEP_REQUIRE_SERVICES', 'SKEP_UWS_PATCH', 'SKEP_CACHE'])

export interface Setting {
  /** `api.port` */
  path: string
  /** `SKEP_API_PORT` */
  variable: string
  /** `api-port`, without the dashes before it. */
  flag: string
  schema: z.ZodType
}

/** Every setting, in the schema's order. */
export const SETTINGS: Setting[] = leaves(configSchema, [])

export interface LoadedConfig {
  config: Config
  /** By path: `default`, `skep.host.yaml:3`, `SKEP_PORT` or `--port`. */
  origins: Record<string, string>
  /** The file that was read, absolute; undefined when there is none. */
  file: string | undefined
  /** What looks like a mistake but is none for sure, one sentence each. */
  warnings: string[]
}

/**
 * The effective configuration: defaults, then the file (`file`, or `skep.host.yaml` in `cwd` when there), then `env`, then
 * `flags` (text by path, `{ 'api.port': '9000' }`). `data`, `store: file:…` and the files of certificates become absolute: relative to the file that
 * says so, otherwise to `cwd`. Throws `invalid_config`, naming each mistake with its line, variable or flag.
 */
export async function loadConfig(options: {
  file?: string | undefined
  env: Record<string, string | undefined>
  flags?: Record<string, string | undefined>
  cwd: string
}): Promise<LoadedConfig> {
  const { env, cwd, flags = {} } = options
  const path = resolve(cwd, options.file ?? CONFIG_FILE)
  const text = await readText(path, options.file !== undefined)
  const source = text === undefined ? undefined : parseYaml(text, options.file ?? CONFIG_FILE)
  if (source !== undefined) checkYaml(configSchema, source)

  const written = (source === undefined ? {} : toValue(source)) as Record<string, unknown>
  const origins: Record<string, string> = {}
  const folders: Record<string, string> = {}
  const mistakes: string[] = []
  for (const setting of SETTINGS) {
    const { path: key, variable, flag } = setting
    const parts = key.split('.')
    origins[key] = 'default'
    if (source?.document.hasIn(parts)) {
      origins[key] = source.where(parts)
      folders[key] = dirname(path)
    }
    const given = [
      { from: variable, text: env[variable] === '' ? undefined : env[variable] },
      { from: `--${flag}`, text: flags[key] },
    ]
    for (const { from, text } of given) {
      if (text === undefined) continue
      const value = setting.schema.safeParse(fromText(setting.schema, text))
      if (value.success) put(written, parts, value.data)
      else {
        const own = value.error.issues.filter(({ code }) => code === 'custom')
        mistakes.push(...own.map(({ message }) => `${from}: ${key}: ${message}`))
        if (own.length === 0) mistakes.push(`${from}: ${key} must be ${describeSchema(setting.schema)}, not ${shown(text)}.`)
      }
      origins[key] = from
      delete folders[key]
    }
  }
  const strange = Object.keys(flags).filter((key) => !(key in origins))
  mistakes.push(...strange.map((key) => `${key} is no setting.`))
  if (mistakes.length > 0) throw invalid(mistakes)

  const config = configSchema.parse(written)
  config.data = resolve(folders['data'] ?? cwd, config.data)
  config.store = absoluteStore(config.store ?? `file:${join(config.data, 'store')}`, folders['store'] ?? cwd, origins['store']!)
  const certificates = folders['tls.certificates'] ?? cwd
  for (const pair of config.tls.certificates) {
    pair.cert = resolve(certificates, pair.cert)
    pair.key = resolve(certificates, pair.key)
  }
  return { config, origins, file: text === undefined ? undefined : path, warnings: warnings(env) }
}

/** Each setting with its value as text and where it came from. Passwords within URLs are hidden. */
export function effectiveSettings({ config, origins }: Pick<LoadedConfig, 'config' | 'origins'>) {
  return SETTINGS.map(({ path }) => {
    const value = path.split('.').reduce<unknown>((at, part) => (at as Record<string, unknown> | undefined)?.[part], config)
    return { path, value: typeof value === 'string' ? value.replace(/\/\/[^/@]*@/, '//***@') : value, from: origins[path]! }
  })
}

function leaves(schema: z.ZodType, parents: string[]): Setting[] {
  const bare = unwrap(schema)
  if (bare instanceof z.ZodObject) {
    return Object.entries(bare.shape).flatMap(([key, value]) => leaves(value as z.ZodType, [...parents, key]))
  }
  const words = parents.join('_').replace(/[A-Z]/g, (letter) => `_${letter}`)
  return [
    { path: parents.join('.'), variable: `SKEP_${words.toUpperCase()}`, flag: words.toLowerCase().replaceAll('_', '-'), schema },
  ]
}

/** What a variable's or flag's text means to the schema; the text itself where it means nothing, for the schema to refuse. */
function fromText(schema: z.ZodType, text: string): unknown {
  const bare = unwrap(schema)
  if (bare instanceof z.ZodNumber) return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text
  if (bare instanceof z.ZodBoolean) return { true: true, false: false, 1: true, 0: false }[text.toLowerCase()] ?? text
  if (bare instanceof z.ZodArray && !(unwrap(bare.element as z.ZodType) instanceof z.ZodObject)) {
    const parts = text.split(',').map((part) => part.trim())
    return parts.filter((part) => part !== '')
  }
  if (bare instanceof z.ZodRecord || bare instanceof z.ZodArray) {
    try {
      return JSON.parse(text)
    } catch {
      return text
    }
  }
  return text
}

function put(target: Record<string, unknown>, parts: string[], value: unknown): void {
  const [first, ...rest] = parts as [string, ...string[]]
  if (rest.length === 0) target[first] = value
  else put((target[first] ??= {}) as Record<string, unknown>, rest, value)
}

async function readText(path: string, required: boolean): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    if (code === 'ENOENT' && !required) return undefined
    throw new SkepError('invalid_config', `The configuration file ${path} cannot be read (${code}).`, { cause })
  }
}

function absoluteStore(store: string, folder: string, origin: string): string {
  if (/^s3:\/\/[^/]+/.test(store)) return store
  const path = /^file:(.+)$/.exec(store)?.[1]
  if (path === undefined) throw invalid([`${origin}: store must be file:DIR or s3://BUCKET/PREFIX, not ${shown(store)}.`])
  return isAbsolute(path) ? store : `file:${resolve(folder, path)}`
}

function warnings(env: Record<string, string | undefined>): string[] {
  const known = SETTINGS.map(({ variable }) => variable)
  const strange = Object.keys(env).filter(
    (name) => name.startsWith('SKEP_') && !known.includes(name) && !OTHER_VARIABLES.has(name),
  )
  return strange.map((name) => {
    const near = nearest(name, known)
    return `${name} is set but is no setting of skep.${near === undefined ? '' : ` Did you mean ${near}?`}`
  })
}
