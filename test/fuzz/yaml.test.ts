/** Project files and host configurations that are none: only coded errors, no hang, nothing put where all objects look. */
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import * as fc from 'fast-check'
import { parseProject } from '../../control-api/project-file.ts'
import { configSchema } from '../../host/config.ts'
import { SkepError } from '../../host/errors.ts'
import { loadConfig, SETTINGS } from '../../host/load-config.ts'
import { runs } from './runs.ts'
import { bombs, mutated, oddValue, soup } from './yaml.ts'

/** Of CPU time, ms: on a busy machine much more passes. */
const LONGEST = 4_000
/** Characters of all mistakes of a file together. */
const LONGEST_MESSAGE = 1_000_000

const PROJECT = {
  functions: {
    hello: {
      main: 'a.ts',
      hosts: ['a.localhost'],
      vars: { A: 'b' },
      nodejs: true,
      limits: { cpuMs: 20, wallMs: 1, memoryMb: 64 },
    },
    other: { main: 'b.ts', secrets: ['X'], triggers: [{ cron: '* * * * *' }], bindings: { KV: { kv: 'x' } } },
  },
}
const PROJECT_KEYS = [
  'functions',
  'hello',
  'main',
  'hosts',
  'vars',
  'nodejs',
  'limits',
  'cpuMs',
  'secrets',
  'triggers',
  'bindings',
  'cron',
]
const CONFIG_KEYS = [...new Set(SETTINGS.flatMap(({ path }) => path.split('.')))]
const ENV = { HOME: '/root', EMPTY: '', A: '${A}', YAML: '{a: [b]}' }

function checkError(error: unknown): void {
  assert.ok(error instanceof SkepError, `not coded: ${String((error as Error)?.stack ?? error)}`)
  assert.ok(['invalid_config', 'invalid_name', 'invalid_hostname'].includes(error.code), error.code)
  assert.ok(error.message.length < LONGEST_MESSAGE, `a message of ${error.message.length} characters`)
}

function checkWorld(since: NodeJS.CpuUsage, what: string): void {
  const { user, system } = process.cpuUsage(since)
  assert.ok((user + system) / 1000 < LONGEST, `${what.slice(0, 200)} took ${(user + system) / 1000} ms of CPU time`)
  const own = Object.keys(Object.prototype)
  assert.deepEqual(own, [])
  assert.equal(({} as { polluted?: unknown }).polluted, undefined)
}

function project(text: string): void {
  const since = process.cpuUsage()
  try {
    for (const { name, main, vars, limits } of parseProject(text, 'skep.yaml', ENV)) {
      assert.match(name, /^[a-z0-9-]{1,63}$/)
      assert.equal(typeof main, 'string')
      for (const value of Object.values(vars)) assert.equal(typeof value, 'string')
      for (const value of Object.values(limits))
        assert.ok(typeof value === 'number' && value > 0 && value < Infinity, String(value))
    }
  } catch (error) {
    if ((error as Error).name === 'AssertionError') throw error
    checkError(error)
  }
  checkWorld(since, text)
}

suite('skep.yaml', { timeout: 600_000 }, () => {
  test('pieces of YAML', () => fc.assert(fc.property(soup(PROJECT_KEYS), project), runs(1_500)))
  test('any text', () => fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 200 }), project), runs(500)))
  test('a project with other values and keys', () => fc.assert(fc.property(mutated(PROJECT), project), runs(1_500)))
  for (const prefix of ['functions:', 'functions: { hello: { main: x, vars:'])
    for (const [name, text] of Object.entries(bombs(prefix))) test(`${name}, after ${prefix}`, () => project(text))
})

suite('skep.host.yaml', { timeout: 600_000 }, () => {
  let cwd: string
  before(async () => {
    cwd = await mkdtemp(join(tmpdir(), 'skep-fuzz-'))
  })
  after(() => rm(cwd, { recursive: true, force: true }))

  async function config(text: string, env: Record<string, string> = {}, flags: Record<string, string> = {}): Promise<void> {
    await writeFile(join(cwd, 'skep.host.yaml'), text)
    const since = process.cpuUsage()
    try {
      const { config: loaded } = await loadConfig({ env, flags, cwd })
      for (const value of Object.values(loaded.limits))
        assert.ok(typeof value !== 'number' || (value >= 0 && value < Infinity), String(value))
      assert.ok(Number.isInteger(loaded.port) && Number.isInteger(loaded.workers))
    } catch (error) {
      if ((error as Error).name === 'AssertionError') throw error
      checkError(error)
    }
    checkWorld(since, text)
  }

  const sound = configSchema.parse({
    egress: { allow: ['127.0.0.1:80'], deny: [] },
    tenants: { acme: { cordon: 'a', egress: {} } },
  })
  test('pieces of YAML', () =>
    fc.assert(
      fc.asyncProperty(soup(CONFIG_KEYS), (text) => config(text)),
      runs(800),
    ))
  test('a configuration with other values and keys', () =>
    fc.assert(
      fc.asyncProperty(mutated(sound), (text) => config(text)),
      runs(800),
    ))
  for (const [name, text] of Object.entries(bombs('limits:'))) test(name, () => config(text))

  test('variables and flags', () => {
    const value = fc.oneof(
      oddValue.map((value) => JSON.stringify(value) ?? ''),
      fc.string(),
      fc.constantFrom('1e400', '--', '[', '{"__proto__":{"cordon":"x"}}', 'a'.repeat(10_000)),
    )
    const names = fc.constantFrom(...SETTINGS.map(({ variable }) => variable), 'SKEP___PROTO__', 'SKEP_X')
    const paths = fc.constantFrom(...SETTINGS.map(({ path }) => path), '__proto__.polluted', 'constructor.prototype', 'x', '')
    return fc.assert(
      fc.asyncProperty(fc.dictionary(names, value, { maxKeys: 4 }), fc.dictionary(paths, value, { maxKeys: 3 }), (env, flags) =>
        config('', env, flags),
      ),
      runs(800),
    )
  })
})
