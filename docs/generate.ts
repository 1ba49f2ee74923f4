import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ArgDefs, Command } from '../control-api/cli/command.ts'
import { describeSchema } from '../host/checked-yaml.ts'
import { registerConduct } from '../host/conduct-metrics.ts'
import { configSchema } from '../host/config.ts'
import { ERRORS } from '../host/errors.ts'
import type { ErrorCode } from '../host/errors.ts'
import { SETTINGS } from '../host/load-config.ts'
import { Counters } from '../host/metrics.ts'
import { LIMIT_NAMES, LIMITS } from '../sandbox/limits.ts'
import type { LimitName, LimitRule } from '../sandbox/limits.ts'

/** `node docs/generate.ts` writes the marked sections of reference.md from the code; a test fails where they are stale. */

const ROOT = join(import.meta.dirname, '..')
const FILE = join(import.meta.dirname, 'reference.md')

/** What a setting is for; one without a line here stops the generator. */
const SETTING_MEANINGS: Record<string, string> = {
  port: 'data port; `0` takes a free one',
  address: 'address of the data port',
  'tls.port': 'port for TLS, where there are certificates; `0` takes a free one',
  'tls.minVersion': 'the least version of TLS',
  'tls.certificates':
    'PEM files, each certificate with its key: `[{cert: a.crt, key: a.key}]`; in the environment as JSON. Host names come from the certificates, and the first one serves those that none names',
  'clients.maxConnections': 'connections that a worker holds on each of its ports; further ones are closed as they come',
  'clients.idleMs':
    'a connection without a whole head, or progress in sending a body or taking the answer, is cut after this long, ms (uWebSockets.js: in steps of 4 seconds)',
  'api.port': 'port of the control API; `0` takes a free one',
  'api.address': 'address of the control API',
  workers: 'worker processes that share the data port',
  data: 'folder of what the host keeps on its own disk: the admin token and, unless `store` says otherwise, the store',
  store: '`file:DIR` or `s3://BUCKET/PREFIX`',
  's3.endpoint': 'an S3 server that is not AWS',
  's3.region': 'region that requests are signed for',
  's3.forcePathStyle': '`endpoint/bucket/key` instead of `bucket.endpoint/key`',
  listener: '`uws` is uWebSockets.js, `node` is node:http; `auto` takes the first where it loads',
  placement:
    'where functions run: `inline` in the workers, `cell` in child processes of theirs, `solo` each in one of its own; `adaptive` chooses by their limits and conduct',
  'probation.events': 'events that must end well before a new version is trusted',
  'probation.seconds': 'how old a new version must be before it is trusted; with both 0, it is trusted at once',
  'quarantine.seconds': 'how long a function that took a process down is not run, s; doubled each time',
  'quarantine.mostSeconds': 'the longest that this gets, s',
  'guard.rssMb': 'resident memory from which a worker or cell is replaced',
  'guard.cgroup':
    '`auto`: workers and cells are in memory cgroups of their own, where the system permits it; an embedded host’s default is `off`',
  'pool.maxIsolates': 'functions that a worker keeps loaded; the least recently used goes first',
  'pool.maxMemoryMb': 'memory of all of a worker’s isolates together',
  'pool.idleMs': 'an isolate without work for so long is dropped',
  'admission.inFlight': 'requests of one tenant that a worker has in flight; more are answered `overloaded`',
  'admission.maxWaitMs': 'a request that is expected to wait longer for CPU time is answered `saturated` at once',
  'egress.allow': 'hosts, `*.name`s, addresses or networks, with or without `:port`, that functions may reach beside public ones',
  'egress.deny': 'the same, that functions may not reach',
  tenants:
    'what holds for single tenants, by name: `{acme: {cordon: paid, placement: cell, inFlight: 500, egress: {allow: [], deny: []}, ceilings: {cpuMs: 100}}}`; in the environment as JSON',
  'log.level': 'least level that is logged, for the host and for functions’ consoles',
  drainMs: 'how long a drain may take before what is left is cut',
}

/** Where the code computes a default. */
const COMPUTED_DEFAULTS: Record<string, string> = {
  workers: 'CPU cores',
  store: '`file:` and `store` in `data`',
  'guard.rssMb': '70% of the memory, shared by the workers; 1024 at least',
}

const ERROR_MEANINGS: Record<ErrorCode, string> = {
  unknown_host: 'no function is routed at this hostname, or it has no deployment',
  bad_request: 'the request is not valid HTTP',
  body_too_large: 'the body is larger than the limit',
  headers_too_large: 'request line and headers are too large',
  loop_detected: 'the request has come through functions of this host again and again: its `CDN-Loop` header says so',
  overloaded: 'more events wait for this function than it may have; try again after `Retry-After`',
  function_threw: 'the handler threw, or its promise rejected',
  no_response: 'the handler returned something else than a Response, or there is no such handler',
  bad_response: 'the Response cannot be sent, for instance for its header values',
  cpu_exceeded: 'the event used its CPU time up',
  memory_exceeded: 'the function used its memory up',
  timeout: 'the event took longer than its wall time',
  start_failed: 'the module does not load: its top level throws, takes too long, or exports no handler',
  quarantined: 'the function took a process down, or its own isolate again and again, and rests; `Retry-After` says how long',
  store_unavailable: 'the store does not answer, and nothing usable is cached',
  draining: 'the host is about to stop',
  saturated: 'all isolates that a worker may hold are at work, or too many hostnames are being looked up',
  worker_lost: 'the process that ran the event ended',
  internal: 'a fault of skep: please report it with the request id',
  unauthorized: 'the token is missing, unknown or revoked',
  forbidden: 'the token’s role or tenant does not allow this',
  not_found: 'there is no such function, version, deployment, route or token',
  route_conflict: 'the hostname belongs to another tenant',
  precondition_failed: 'somebody else changed it in between; read it again',
  invalid_request: 'the request does not say what it must; the message names the place',
  invalid_name: 'a function or tenant cannot have this name',
  invalid_hostname: 'this is no hostname that can be routed',
  bundle_failed: 'the sources do not build; every error is listed with file and line',
  bundle_too_large: 'the bundle is larger than the limit',
  bundle_rejected: 'the uploaded bundle is damaged or not of this format',
  invalid_config: 'a configuration or project file, a variable or a flag is wrong; each mistake is named with its place',
  port_in_use: 'something else listens on the port',
  missing_flag: 'placement `inline` in an embedding process needs `node --no-node-snapshot`',
  store_conflict: 'the S3 server ignores conditional writes, and another process writes to this store',
  store_corrupt: 'an object of the store is damaged; the message names it',
  store_full: 'the store has no room',
}

/** Every command of `skep`, by the name that is typed. */
export async function loadCommands(): Promise<Command[]> {
  const folder = join(ROOT, 'control-api/cli')
  const files = readdirSync(folder).filter((file) => /^[a-z-]+\.ts$/.test(file) && file !== 'main.ts')
  const modules = await Promise.all(files.map((file) => import(join(folder, file)) as Promise<{ default?: Command }>))
  const commands = modules.flatMap(({ default: command }) => (typeof command?.run === 'function' ? [command] : []))
  return commands.sort((a, b) => (a.name < b.name ? -1 : 1))
}

export async function generateSections(): Promise<Record<string, string>> {
  return {
    commands: commandTable(await loadCommands()),
    configuration: configurationTable(),
    limits: limitTable(),
    errors: errorTable(),
    metrics: await metricTable(),
    api: apiTable(),
  }
}

/** The text with each `<!-- begin NAME -->` … `<!-- end NAME -->` filled in. */
export function fillSections(text: string, sections: Record<string, string>): string {
  for (const [name, content] of Object.entries(sections)) {
    const marks = new RegExp(`(<!-- begin ${name}[^>]*-->\n)[\\s\\S]*?(<!-- end ${name} -->)`)
    if (!marks.test(text)) throw new Error(`reference.md has no section ${name}`)
    text = text.replace(marks, (_, begin: string, end: string) => `${begin}\n${content}\n\n${end}`)
  }
  return text
}

/** Flags of every command that talks to a host are said once, above the table. */
const COMMON = ['api', 'token', 'data', 'tenant', 'json']

function commandTable(commands: Command[]): string {
  const rows = commands.map(({ name, description, args }) => {
    const flags =
      name === 'serve' || name === 'config' ? 'one for each [setting](#configuration), `--config FILE`' : ownFlags(name, args)
    return [code(['skep', name, ...positionals(args)].join(' ')), description, flags]
  })
  return table(['command', 'does', 'flags of its own'], rows)
}

function positionals(args: ArgDefs): string[] {
  return Object.entries(args).flatMap(([name, arg]) => {
    if (arg.type !== 'positional') return []
    const word = arg.rest === true ? `${name.toUpperCase()}…` : name.toUpperCase()
    return [arg.required ? word : `[${word}]`]
  })
}

function ownFlags(command: string, args: ArgDefs): string {
  const flags = Object.entries(args).flatMap(([name, arg]) => {
    if (arg.type === 'positional') return []
    // Of `invoke`, --data is the body; of `token create`, --tenant is whose the token becomes.
    const common =
      COMMON.includes(name) && !(command === 'invoke' && name === 'data') && !(command === 'token create' && name === 'tenant')
    if (common) return []
    const many = arg.multiple === true ? ' …' : ''
    return [code(`--${name}${arg.type === 'boolean' ? '' : ` ${(arg.valueHint ?? name).toUpperCase()}`}${many}`)]
  })
  return flags.join(', ') || '–'
}

function configurationTable(): string {
  const defaults = configSchema.parse({}) as Record<string, unknown>
  const rows = SETTINGS.map(({ path, variable, flag, schema }) => {
    const meaning = SETTING_MEANINGS[path] ?? limitMeaning(path)
    if (meaning === undefined) throw new Error(`docs/generate.ts says nothing about the setting ${path}`)
    const value = path.split('.').reduce<unknown>((at, part) => (at as Record<string, unknown> | undefined)?.[part], defaults)
    const empty = value === undefined || (Array.isArray(value) && value.length === 0)
    const fallback = COMPUTED_DEFAULTS[path] ?? (empty ? '–' : code(String(value)))
    return [code(path), code(variable), code(`--${flag}`), fallback, describeSchema(schema), meaning]
  })
  const strange = Object.keys(SETTING_MEANINGS).filter((path) => !SETTINGS.some((setting) => setting.path === path))
  if (strange.length > 0) throw new Error(`docs/generate.ts describes settings that do not exist: ${strange.join(', ')}`)
  return table(['key', 'variable', 'flag', 'default', 'takes', 'what it is'], rows)
}

function limitMeaning(path: string): string | undefined {
  const [group, name] = path.split('.') as [string, LimitName]
  if (!(name in LIMITS)) return undefined
  return group === 'limits' ? `${LIMITS[name].what}; see [Limits](#limits)` : 'the most that a version may ask for'
}

function limitTable(): string {
  const rows = LIMIT_NAMES.map((name) => {
    const { what, unit, min, max, ceiling, passed, code: error, default: fallback }: LimitRule = LIMITS[name]
    const own = ceiling === undefined ? 'operator only' : `up to ${ceiling}`
    const outcome = error === undefined ? passed : `${code(error)}; ${passed}`
    return [code(name), unit === '' ? what : `${what}, ${unit}`, String(fallback), own, `${min} to ${max}`, outcome]
  })
  return table(['limit', 'of', 'default', 'a version may ask for', 'an operator may set', 'when passed'], rows)
}

function errorTable(): string {
  const rows = Object.entries(ERRORS).map(([name, { status, whose }]) => [
    code(name),
    String(status),
    whose,
    ERROR_MEANINGS[name as ErrorCode],
  ])
  return table(['code', 'status', 'whose', 'what happened'], rows)
}

async function metricTable(): Promise<string> {
  const { registry } = new Counters()
  registerConduct(registry, { offences: new Map(), countOf: () => 0 })
  const metrics = await registry.getMetricsAsJSON()
  const rows = metrics.map(({ name, type, help }) => [code(name), String(type), help])
  return table(['metric', 'kind', 'what'], rows)
}

function apiTable(): string {
  const { paths } = JSON.parse(readFileSync(join(ROOT, 'control-api/openapi.json'), 'utf8')) as {
    paths: Record<string, Record<string, { summary?: string }>>
  }
  const rows = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { summary }]) => [code(`${method.toUpperCase()} ${path}`), summary ?? '']),
  )
  return table(['request', 'does'], rows)
}

function code(text: string): string {
  return `\`${text}\``
}

function table(headings: string[], rows: string[][]): string {
  const lines = [headings, headings.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`)
  return lines.join('\n')
}

if (import.meta.main) writeFileSync(FILE, fillSections(readFileSync(FILE, 'utf8'), await generateSections()))
