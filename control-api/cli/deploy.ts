import { readFile } from 'node:fs/promises'
import { basename, dirname, relative, resolve } from 'node:path'
import { encodeBundle, hashBytes } from '../../bundler/artifact.ts'
import { SkepError } from '../../host/errors.ts'
import { checkHostname, checkName } from '../../host/records.ts'
import { parseProject, PROJECT_FILE } from '../project-file.ts'
import type { ProjectFunction } from '../project-file.ts'
import { API_ARGS, connect, functionPath } from './client.ts'
import type { Client } from './client.ts'
import { defineCommand, UsageError } from './command.ts'
import { clean, note, print, printJson, warn } from './output.ts'
import { startFolder } from './start-folder.ts'
import { hostsByFunction, shares, urlOf } from './views.ts'
import type { Fn, Route, Status, Version } from './views.ts'

export default defineCommand({
  name: 'deploy',
  description: 'Bundles, uploads and activates a function, or every function of skep.yaml.',
  example: 'skep deploy src/index.ts --name hello --host hello.localhost --var GREETING=hi',
  args: {
    entry: { type: 'positional', description: 'The entry module, or a project file (default skep.yaml).', required: false },
    name: {
      type: 'string',
      description: 'The function’s name (default: after the file); of a project file, the one to deploy.',
      valueHint: 'name',
    },
    host: { type: 'string', description: 'A hostname to route to it.', valueHint: 'host', multiple: true },
    var: { type: 'string', description: 'A variable, NAME=VALUE.', valueHint: 'var', multiple: true },
    nodejs: { type: 'boolean', description: 'Allows node: imports.' },
    tag: { type: 'string', description: 'A word of your own for this version.', valueHint: 'tag' },
    percent: { type: 'string', description: 'The new version’s share of the traffic (default 100).', valueHint: 'percent' },
    ...API_ARGS,
  },
  async run(args) {
    const percent = parsePercent(args.percent)
    const functions = await chosenFunctions(args)
    const bundles = []
    // All of them before the first upload: a mistake in one leaves the others as they were.
    for (const fn of functions) bundles.push(await makeBundle(fn))

    const client = await connect(args)
    const { dataPort } = await client.call<Status>('/v1/status')
    const done = []
    for (const [index, fn] of functions.entries()) {
      const version = await upload(client, fn, bundles[index]!, args.tag ?? '')
      const deployed = await activate(client, fn.name, version.id, percent)
      for (const host of fn.hosts)
        await client.call(`/v1/routes/${encodeURIComponent(host)}`, { method: 'PUT', json: { function: fn.name } })
      done.push({ name: fn.name, version: version.id, deployment: deployed.deployment! })
    }
    const hosts = hostsByFunction(await client.all<Route>('/v1/routes'))
    const results = done.map((one) => ({ ...one, urls: (hosts.get(one.name) ?? []).map((host) => urlOf(host, dataPort)) }))
    if (args.json) return printJson(args.entry !== undefined && !isProject(args.entry) ? results[0] : results)
    for (const { name, version, deployment, urls } of results) {
      print(clean(`${name} ${version}${deployment.versions.length > 1 ? ` (${shares(deployment)})` : ''}`))
      for (const url of urls) print(clean(`  ${url}`))
      if (urls.length === 0) note(`  No hostname leads to ${name} yet. \`skep route add HOST ${name}\` adds one.`)
    }
  },
})

interface Chosen {
  entry: string | undefined
  name: string | undefined
  host: string[]
  var: string[]
  nodejs: boolean
}

/** What to deploy; `main` is absolute. */
async function chosenFunctions(args: Chosen): Promise<ProjectFunction[]> {
  const hosts = args.host.map(checkHostname)
  const vars = Object.fromEntries(args.var.map(parseVar))
  const folder = startFolder()
  if (args.entry !== undefined && !isProject(args.entry)) {
    const main = resolve(folder, args.entry)
    return [{ name: checkName('function', args.name ?? nameAfter(main)), main, hosts, vars, nodejs: args.nodejs, limits: {} }]
  }
  const file = resolve(folder, args.entry ?? PROJECT_FILE)
  const all = parseProject(await readProject(file, args.entry === undefined), relative(folder, file), process.env)
  const chosen = args.name === undefined ? all : all.filter(({ name }) => name === args.name)
  if (chosen.length === 0)
    throw new UsageError(
      `${PROJECT_FILE} has no function ${JSON.stringify(args.name)}; it has ${all.map(({ name }) => name).join(', ')}.`,
    )
  const single = hosts.length > 0 || args.var.length > 0 || args.nodejs
  if (single && chosen.length > 1)
    throw new UsageError('--host, --var and --nodejs are for one function: give its ENTRY or --name.')
  return chosen.map((fn) => ({
    ...fn,
    main: resolve(dirname(file), fn.main),
    hosts: [...fn.hosts, ...hosts],
    vars: { ...fn.vars, ...vars },
    nodejs: fn.nodejs || args.nodejs,
  }))
}

async function readProject(file: string, byDefault: boolean): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    if (code === 'ENOENT' && byDefault)
      throw new UsageError(`ENTRY is missing, and there is no ${PROJECT_FILE} in ${dirname(file)}.`)
    throw new SkepError('invalid_config', `The project file ${file} cannot be read (${code}).`, { cause })
  }
}

async function makeBundle(fn: ProjectFunction): Promise<Uint8Array> {
  const { bundle } = await import('../../bundler/bundle.ts')
  // The host has the last word on size; its limit may be another than this side's default.
  const { bundle: made, warnings } = await bundle({ main: fn.main }, { nodejs: fn.nodejs, maxBytes: Number.MAX_SAFE_INTEGER })
  for (const warning of warnings) warn(warning)
  return encodeBundle(made)
}

async function upload(client: Client, fn: ProjectFunction, bytes: Uint8Array, tag: string): Promise<Version> {
  const form = new FormData()
  form.set('metadata', JSON.stringify({ vars: fn.vars, limits: fn.limits, tag, sha256: hashBytes(bytes) }))
  form.set('bundle', new Blob([bytes as Uint8Array<ArrayBuffer>]))
  const { version } = await client.call<{ version: Version }>(functionPath(fn.name, '/versions'), { method: 'POST', body: form })
  return version
}

/** Gives the version its share; what answers now keeps the rest, in the proportions that it has. */
async function activate(client: Client, name: string, id: string, percent: number): Promise<Fn> {
  if (percent === 100) return put(client, name, [{ id, percent }])
  const { deployment } = await client.call<Fn>(functionPath(name))
  const others = (deployment?.versions ?? []).filter((version) => version.id !== id)
  const total = others.reduce((sum, version) => sum + version.percent, 0)
  if (deployment === null || total === 0) {
    throw new SkepError(
      'invalid_request',
      `${name} has no other version to take the other ${100 - percent} %. Deploy it without --percent.`,
    )
  }
  const rest = others.map((version) => ({ id: version.id, percent: (version.percent * (100 - percent)) / total }))
  return put(client, name, [...rest, { id, percent }], deployment.id)
}

function put(client: Client, name: string, versions: { id: string; percent: number }[], over?: number): Promise<Fn> {
  const headers: Record<string, string> = over === undefined ? {} : { 'if-match': `"${over}"` }
  return client.call<Fn>(functionPath(name, '/deployment'), { method: 'PUT', json: { versions }, headers })
}

function isProject(entry: string): boolean {
  return /\.ya?ml$/.test(entry)
}

/** `hello.ts` is hello; `hello/index.ts`, `hello/src/main.ts` and `hello/src/worker.ts` are hello too. */
function nameAfter(main: string): string {
  const parts = dirname(main)
    .split('/')
    .filter((part) => part !== '' && part !== 'src')
  const stem = basename(main).replace(/\.[^.]*$/, '')
  const word = ['index', 'main', 'worker', 'mod'].includes(stem) ? (parts.at(-1) ?? stem) : stem
  return word
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
}

function parseVar(text: string): [string, string] {
  const equals = text.indexOf('=')
  if (equals < 1) throw new UsageError(`--var takes NAME=VALUE, not ${JSON.stringify(text)}.`)
  return [text.slice(0, equals), text.slice(equals + 1)]
}

function parsePercent(text: string | undefined): number {
  const percent = text === undefined ? 100 : Number(text.replace(/%$/, ''))
  if (percent > 0 && percent <= 100) return percent
  throw new UsageError(`--percent is a number above 0, up to 100, not ${JSON.stringify(text)}.`)
}
