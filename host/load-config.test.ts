import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { effectiveSettings, loadConfig, SETTINGS } from './load-config.ts'

async function folder(t: TestContext, file?: string): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'skep-config-'))
  t.after(() => rm(dir, { recursive: true, force: true }))
  if (file !== undefined) await writeFile(join(dir, 'skep.host.yaml'), file)
  return dir
}

async function mistakes(
  t: TestContext,
  file: string,
  given: { env?: Record<string, string>; flags?: Record<string, string> } = {},
) {
  const cwd = await folder(t, file)
  const error = await loadConfig({ env: {}, cwd, ...given }).then(
    () => assert.fail(`accepted: ${file}`),
    (error: unknown) => error as Error & { code: string },
  )
  assert.equal(error.code, 'invalid_config')
  return error.message.split('\n')
}

test('later wins: defaults, file, environment, flags; and each value says where it came from', async (t) => {
  const cwd = await folder(t, '# of this machine\nport: 1000\napi:\n  port: 2000\nworkers: 3\nlimits: { cpuMs: 20 }\n')
  const env = { SKEP_API_PORT: '2001', SKEP_WORKERS: '4', SKEP_LOG_LEVEL: '' }
  const { config, origins, warnings } = await loadConfig({ env, flags: { workers: '5' }, cwd })
  assert.deepEqual(
    [config.port, config.api.port, config.workers, config.limits.cpuMs, config.log.level],
    [1000, 2001, 5, 20, 'info'],
  )
  const from = ['port', 'api.port', 'workers', 'limits.cpuMs', 'log.level'].map((path) => origins[path])
  assert.deepEqual(from, ['skep.host.yaml:2', 'SKEP_API_PORT', '--workers', 'skep.host.yaml:6', 'default'])
  assert.deepEqual(warnings, [])
})

test('variables are upper snake case of the path, flags lower kebab case', () => {
  const names = SETTINGS.map(({ path, variable, flag }) => [path, variable, flag])
  for (const expected of [
    ['port', 'SKEP_PORT', 'port'],
    ['api.port', 'SKEP_API_PORT', 'api-port'],
    ['s3.forcePathStyle', 'SKEP_S3_FORCE_PATH_STYLE', 's3-force-path-style'],
    ['egress.allow', 'SKEP_EGRESS_ALLOW', 'egress-allow'],
    ['drainMs', 'SKEP_DRAIN_MS', 'drain-ms'],
  ]) {
    assert.ok(
      names.some((name) => JSON.stringify(name) === JSON.stringify(expected)),
      expected.join(),
    )
  }
  assert.equal(new Set(SETTINGS.map(({ variable }) => variable)).size, SETTINGS.length)
})

test('texts become lists, switches and numbers', async (t) => {
  const env = { SKEP_EGRESS_ALLOW: '127.0.0.1:9000, 10.1.0.0/16,', SKEP_S3_FORCE_PATH_STYLE: 'FALSE', SKEP_LIMITS_CPU_MS: '2.5' }
  const { config } = await loadConfig({ env, cwd: await folder(t) })
  assert.deepEqual(
    [config.egress.allow, config.s3.forcePathStyle, config.limits.cpuMs],
    [['127.0.0.1:9000', '10.1.0.0/16'], false, 2.5],
  )
})

test('relative folders are relative to the file that says so, otherwise to where the command was typed', async (t) => {
  const cwd = await folder(t)
  await mkdir(join(cwd, 'etc'))
  await writeFile(join(cwd, 'etc/h.yaml'), 'data: d\nstore: file:s\n')
  const file = await loadConfig({ file: 'etc/h.yaml', env: {}, cwd })
  assert.deepEqual([file.config.data, file.config.store], [join(cwd, 'etc/d'), `file:${join(cwd, 'etc/s')}`])
  assert.deepEqual([file.file, file.origins['data']], [join(cwd, 'etc/h.yaml'), 'etc/h.yaml:1'])
  const env = await loadConfig({ file: 'etc/h.yaml', env: { SKEP_DATA: 'd', SKEP_STORE: 's3://bucket/x' }, cwd })
  assert.deepEqual([env.config.data, env.config.store], [join(cwd, 'd'), 's3://bucket/x'])
  const none = await loadConfig({ env: {}, cwd })
  assert.deepEqual([none.config.store, none.file], [`file:${join(cwd, '.skep/store')}`, undefined])
})

test('mistakes in the file name line, key, the nearest key and what is allowed, all at once', async (t) => {
  const lines = await mistakes(
    t,
    'port: 99999\nprot: 5\napi:\n  prt: 4\nlimits: {cpuMs: 0}\nlog:\n  level: lod\negress: {allow: [1]}\nworkers: "2"\n',
  )
  assert.deepEqual(lines.toSorted(), [
    'skep.host.yaml:1: port must be a whole number from 0 to 65535, not 99999.',
    'skep.host.yaml:2: unknown key prot. Did you mean port?',
    'skep.host.yaml:4: unknown key api.prt. Did you mean port?',
    'skep.host.yaml:5: limits.cpuMs must be a number from 1 to 600000, not 0.',
    'skep.host.yaml:7: log.level must be one of debug, info, warn, error, not "lod".',
    'skep.host.yaml:8: egress.allow.0 must be text, not 1.',
    'skep.host.yaml:9: workers must be a whole number from 1 to 1024, not "2".',
  ])
  assert.match((await mistakes(t, 'zzzzzzzzzzz: 1'))[0]!, /^skep.host.yaml:1: unknown key zzzzzzzzzzz. Known: port, /)
  assert.deepEqual(await mistakes(t, 'api: 5'), ['skep.host.yaml:1: api must be a group of keys (port, address), not 5.'])
  assert.match((await mistakes(t, '- port'))[0]!, /the file must be a group of keys/)
  assert.match((await mistakes(t, 'a: 1\nport: [1\n'))[0]!, /^skep.host.yaml:3:1: /)
  assert.match((await mistakes(t, 'port: 1\nport: 2\n'))[0]!, /^skep.host.yaml:2:1: .*unique/)
  assert.match((await mistakes(t, 'store: ftp://x'))[0]!, /^skep.host.yaml:1: store must be file:DIR or s3:/)
})

test('outbound lists that mean nothing are refused with the entry and its place, also those of single tenants', async (t) => {
  const file = `egress:
  allow: [10.0.0.0/8, 10.0.0.0/33]
tenants:
  acme:
    egress:
      deny:
        - evil.example
        - http://evil.example
`
  assert.deepEqual(await mistakes(t, file), [
    'skep.host.yaml:2: egress.allow.1: "10.0.0.0/33" is no network: what follows / is a number from 0 to 32.',
    'skep.host.yaml:8: tenants.acme.egress.deny.1: "http://evil.example" is no address, network, host name or *.name, with or without :port.',
  ])
  const tenants = JSON.stringify({ acme: { egress: { allow: ['127.1'] } } })
  const given = { env: { SKEP_EGRESS_DENY: 'a.example,10.0.0.1:0', SKEP_TENANTS: tenants }, flags: { 'egress.allow': '*' } }
  assert.deepEqual(await mistakes(t, '', given), [
    '--egress-allow: egress.allow: "*" is no address, network, host name or *.name, with or without :port.',
    'SKEP_EGRESS_DENY: egress.deny: "10.0.0.1:0" has a port that is not from 1 to 65535.',
    'SKEP_TENANTS: tenants: "127.1" is no address in its usual notation.',
  ])
})

test('mistakes in variables and flags name them', async (t) => {
  const given = { env: { SKEP_API_PORT: 'x', SKEP_S3_ENDPOINT: 'nowhere' }, flags: { workers: '1.5', nonsense: '1' } }
  assert.deepEqual(await mistakes(t, '', given), [
    'SKEP_API_PORT: api.port must be a whole number from 0 to 65535, not "x".',
    '--workers: workers must be a whole number from 1 to 1024, not "1.5".',
    'SKEP_S3_ENDPOINT: s3.endpoint must be a URL, not "nowhere".',
    'nonsense is no setting.',
  ])
})

test('a file that was asked for must be there; the default one need not', async (t) => {
  const cwd = await folder(t)
  await assert.rejects(loadConfig({ file: 'none.yaml', env: {}, cwd }), {
    code: 'invalid_config',
    message: /none.yaml cannot be read \(ENOENT\)/,
  })
  assert.equal((await loadConfig({ env: {}, cwd })).file, undefined)
})

test('strange SKEP_ variables are warned of; those of the command line are not', async (t) => {
  const env = {
    SKEP_PROT: '1',
    SKEP_TOKEN: 'x',
    SKEP_API_URL: 'x',
    SKEP_REQUIRE_SERVICES: '1',
    SKEP_CACHE: 'x',
    SKEP_UWS_PATCH: '1',
    OTHER: '1',
  }
  const { warnings } = await loadConfig({ env, cwd: await folder(t) })
  assert.deepEqual(warnings, ['SKEP_PROT is set but is no setting of skep. Did you mean SKEP_PORT?'])
})

test('passwords within URLs are hidden', async (t) => {
  const loaded = await loadConfig({ env: { SKEP_S3_ENDPOINT: 'http://user:secret@127.0.0.1:9000' }, cwd: await folder(t) })
  const { value } = effectiveSettings(loaded).find(({ path }) => path === 's3.endpoint')!
  assert.equal(value, 'http://***@127.0.0.1:9000')
})
