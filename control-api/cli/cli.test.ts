import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { serveApi } from '../serve-api.ts'
import { openApi, temporaryFolder } from '../test-support/host.ts'

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url))
const HELLO = 'export default { fetch() { return new Response("hello") } }\n'

interface Ran {
  code: number
  out: string
  err: string
}

function run(cwd: string, args: string[], env: Record<string, string> = {}): Promise<Ran> {
  const given = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(SKEP_|INIT_CWD|npm_|NODE_TEST)/.test(name)))
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [MAIN, ...args], { cwd, env: { ...given, ...env } }, (error, out, err) => {
      resolve({ code: error === null ? 0 : Number(error.code), out, err })
    })
    child.stdin!.end()
  })
}

/** A served API, and `skep` in a folder of its own with the operator's token. */
async function served(t: TestContext) {
  const host = await openApi(t)
  const server = await serveApi(host.api, { port: 0, address: '127.0.0.1' })
  t.after(() => server.close(0))
  const cwd = join(host.dir, 'project')
  await mkdir(cwd)
  await writeFile(join(cwd, 'hello.ts'), HELLO)
  const url = `http://127.0.0.1:${server.port}`
  const env = { SKEP_API_URL: url, SKEP_TOKEN: host.operator }
  const skep = (args: string[], more: Record<string, string> = {}) => run(cwd, args, { ...env, ...more })
  const ok = async (...args: string[]) => {
    const { code, out, err } = await skep(args)
    assert.equal(code, 0, `${args.join(' ')}: ${err}`)
    return out
  }
  return { ...host, cwd, url, skep, ok }
}

test('deploy, list, show, versions, traffic, rollback, invoke, route, delete', async (t) => {
  const { cwd, skep, ok } = await served(t)
  const first = await ok(
    'deploy',
    'hello.ts',
    '--host',
    'hello.localhost',
    '--host',
    '*.example.com',
    '--var',
    'A=1=2',
    '--tag',
    'one',
  )
  const one = /^hello ([0-9a-f]{16})\n/.exec(first)![1]!
  assert.equal(first, `hello ${one}\n  http://*.example.com:8080/\n  http://hello.localhost:8080/\n`)
  await writeFile(join(cwd, 'hello.ts'), HELLO.replace('hello', 'hello again'))
  const second = JSON.parse(await ok('deploy', 'hello.ts', '--percent', '25', '--json'))
  const two = second.version
  assert.deepEqual(second.deployment.versions, [
    { id: one, percent: 75 },
    { id: two, percent: 25 },
  ])
  assert.deepEqual(second.urls, ['http://*.example.com:8080/', 'http://hello.localhost:8080/'])

  assert.match(
    await ok('list'),
    new RegExp(`NAME +VERSIONS +HOSTS +CHANGED.*\nhello +${one} 75%, ${two} 25% +\\*.example.com hello.localhost `),
  )
  const [listed] = JSON.parse(await ok('list', '--json'))
  assert.deepEqual(listed.hosts, ['*.example.com', 'hello.localhost'])
  assert.match(await ok('show', 'hello'), /#2 .*<- answers\n {2}#1 /)
  const versions = JSON.parse(await ok('versions', 'hello', '--json'))
  assert.deepEqual(versions.find(({ id }: { id: string }) => id === one).settings, { vars: { A: '1=2' }, limits: {}, tag: 'one' })
  assert.match(await ok('versions', 'hello'), /VERSION +SHARE/)

  assert.equal(await ok('traffic', 'hello', `${one}=10`, `${two}=90%`), `hello: ${one} 10%, ${two} 90%\n`)
  assert.equal(await ok('rollback', 'hello'), `hello is back at ${one} 75%, ${two} 25%\n`)
  assert.equal(await ok('rollback', 'hello', one), `hello is back at ${one}\n`)

  const answer = JSON.parse(await ok('invoke', 'hello', '--path', '/x', '--data', 'body', '--header', 'content-type: text/csv'))
  assert.deepEqual(
    [answer.method, answer.url, answer.type, answer.body],
    ['POST', 'http://hello.localhost/x', 'text/csv', 'body'],
  )
  const missing = await skep(['invoke', 'hello', '--path', '/status/404'])
  assert.deepEqual([missing.code, missing.err], [0, 'The function answered 404.\n'])
  assert.equal((await skep(['invoke', 'hello', '--path', '/status/500', '--json'])).code, 1)

  assert.equal(await ok('route', 'add', 'two.localhost', 'hello'), 'http://two.localhost:8080/ is hello\n')
  assert.equal(JSON.parse(await ok('route', 'list', '--json')).length, 3)
  assert.equal(await ok('route', 'remove', 'two.localhost'), 'two.localhost is removed.\n')

  const unsure = await skep(['delete', 'hello'])
  assert.deepEqual(
    [unsure.code, unsure.err],
    [2, 'error: There is no terminal to ask on. Give --yes to delete. See `skep delete --help`.\n'],
  )
  assert.equal(await ok('delete', 'hello', '--yes'), 'hello is deleted.\n')
  assert.deepEqual(JSON.parse(await ok('list', '--json')), [])
  assert.match(await ok('status'), /^dataPort: 8080\n/)
})

test('tokens: created, listed, revoked; the text alone on stdout', async (t) => {
  const { ok, skep } = await served(t)
  const text = (await ok('token', 'create', 'ci', '--role', 'deploy', '--tenant', 'shop')).trim()
  assert.match(text, /^skep_[\w-]{43}$/)
  const created = JSON.parse(await ok('token', 'list', '--json')).find(({ name }: { name: string }) => name === 'ci')
  assert.deepEqual([created.tenant, created.role], ['shop', 'deploy'])
  assert.deepEqual((await skep(['list'], { SKEP_TOKEN: text })).code, 0)
  const denied = await skep(['token', 'list'], { SKEP_TOKEN: text })
  assert.deepEqual(
    [denied.code, denied.err],
    [1, 'error (forbidden): This needs a token with the role admin; this one has deploy.\n'],
  )
  await ok('token', 'revoke', created.id)
  const revoked = await skep(['list'], { SKEP_TOKEN: text })
  assert.equal(revoked.code, 1)
  assert.match(revoked.err, /^error \(unauthorized\): This token is unknown or revoked/)
})

test('every function of a project file, or one of them', async (t) => {
  const { cwd, ok, skep } = await served(t)
  const project = [
    'functions:',
    '  one: { main: hello.ts, hosts: [one.localhost] }',
    '  two:',
    '    main: sub/two.ts',
    '    vars: { WORD: "${WORD:-none}" }',
  ]
  await mkdir(join(cwd, 'sub'))
  await writeFile(join(cwd, 'skep.yaml'), project.join('\n'))
  const broken = await skep(['deploy'])
  assert.equal(broken.code, 1)
  assert.match(broken.err, /^error \(bundle_failed\)/)
  assert.deepEqual(JSON.parse(await ok('list', '--json')), [], 'nothing is deployed when one cannot be bundled')

  await writeFile(join(cwd, 'sub/two.ts'), HELLO)
  const done = JSON.parse(await ok('deploy', '--json'))
  assert.deepEqual(
    done.map(({ name, urls }: { name: string; urls: string[] }) => [name, urls]),
    [
      ['one', ['http://one.localhost:8080/']],
      ['two', []],
    ],
  )
  assert.equal((await skep(['deploy', '--name', 'two'], { WORD: 'x' })).code, 0)
  const words = JSON.parse(await ok('versions', 'two', '--json')).map(
    (version: { settings: { vars: object } }) => version.settings.vars,
  )
  assert.deepEqual(words, [{ WORD: 'x' }, { WORD: 'none' }])
  assert.equal((await skep(['deploy', '--name', 'three'])).code, 2)
  assert.equal((await skep(['deploy', '--host', 'x.localhost'])).code, 2)
  await writeFile(join(cwd, 'skep.yaml'), 'functions:\n  one:\n    mian: hello.ts\n')
  const wrong = await skep(['deploy'])
  assert.equal(wrong.code, 1)
  assert.match(wrong.err, /skep.yaml:3: unknown key functions.one.mian. Did you mean main\?/)
})

test('paths are taken from where `npm run skep` was typed, but not from other scripts', async (t) => {
  const { cwd, dir, url, operator } = await served(t)
  const env = { SKEP_API_URL: url, SKEP_TOKEN: operator, INIT_CWD: cwd }
  const typed = await run(dir, ['deploy', 'hello.ts'], { ...env, npm_lifecycle_event: 'skep' })
  assert.equal(typed.code, 0, typed.err)
  assert.equal((await run(dir, ['deploy', 'hello.ts'], { ...env, npm_lifecycle_event: 'other' })).code, 1)
})

test('the admin token of the data folder is used, for hosts on this machine', async (t) => {
  const { cwd, url, operator } = await served(t)
  await mkdir(join(cwd, '.skep'))
  await writeFile(join(cwd, '.skep/admin-token'), `${operator}\n`)
  const env = { SKEP_API_URL: url }
  assert.equal((await run(cwd, ['list'], env)).code, 0)
  assert.equal((await run(join(cwd, '..'), ['list', '--data', 'project/.skep'], env)).code, 0)
  assert.match((await run(join(cwd, '..'), ['list'], env)).err, /^error \(unauthorized\): This needs a token/)
  assert.match((await run(cwd, ['list', '--data', 'none'], env)).err, /admin-token cannot be read \(ENOENT\)/)
})

test('what is misused exits with 2 and says how it goes', async (t) => {
  const cwd = await temporaryFolder(t)
  const misuses: [string[], RegExp][] = [
    [[], /A command is missing/],
    [['dploy'], /skep has no command "dploy". Did you mean deploy\?/],
    [['list', '--jsn'], /--jsn is no option of this command. Did you mean --json\? See `skep list --help`/],
    [['list', '-x'], /-x is no option/],
    [['list', 'extra'], /"extra" is one argument too many/],
    [['list', '--api'], /--api/],
    [['list', '--json=yes'], /--json/],
    [['show'], /NAME is missing/],
    [['route'], /`skep route` needs a word more/],
    [['route', 'frob'], /no command "route frob"/],
    [['token', 'create', 'x', '--role', 'root'], /--role is admin, deploy or read/],
    [['traffic', 'x', 'y'], /"y" is not VERSION=PERCENT/],
    [['deploy'], /ENTRY is missing, and there is no skep.yaml/],
    [['deploy', 'x.ts', '--percent', '0'], /--percent/],
    [['deploy', 'x.ts', '--var', 'A'], /--var takes NAME=VALUE/],
    [['invoke', 'x', '--header', 'y'], /NAME: VALUE/],
    [['list', '--api', 'ftp://x'], /--api must be an http or https URL/],
    [['--json'], /must come after a command/],
    [['config', '--prot', '1'], /Did you mean --port\?/],
  ]
  const results = await Promise.all(misuses.map(([args]) => run(cwd, args)))
  for (const [index, { code, out, err }] of results.entries()) {
    const [args, expected] = misuses[index]!
    assert.deepEqual([code, out], [2, ''], args.join(' '))
    assert.match(err, expected)
    assert.ok(!/\n +at /.test(err), err)
  }
})

test('every command has help with an example', async (t) => {
  const cwd = await temporaryFolder(t)
  const overview = (await run(cwd, ['--help'])).out
  const names = [...overview.matchAll(/^ {2}([a-z]+(?: [a-z]+)?) {2,}/gm)].map((match) => match[1]!)
  assert.equal(names.length, 20)
  await Promise.all(
    names.map(async (name) => {
      const { code, out } = await run(cwd, [...name.split(' '), '--help'])
      assert.equal(code, 0, name)
      assert.match(out, new RegExp(`USAGE skep ${name} [^]*Example: .*skep ${name}`), name)
      assert.ok(!out.includes('\u001B'), name)
    }),
  )
  assert.match((await run(cwd, ['--version'])).out, /^\d+\.\d+\.\d+\n$/)
})

test('no host, something else than a host, bad settings', async (t) => {
  const cwd = await temporaryFolder(t)
  const server = createServer((socket) => socket.resume().end('HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nhi'))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const api = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const other = await run(cwd, ['list', '--api', api])
  assert.deepEqual([other.code, other.err.includes('no problem document')], [1, true])
  await new Promise((resolve) => server.close(resolve))
  const none = await run(cwd, ['list', '--api', api])
  const expected = `error: No skep host answers at ${api}. Start one with \`skep serve\`, or give --api.\n`
  assert.deepEqual([none.code, none.err], [1, expected])
  const bad = await run(cwd, ['serve', '--port', '99999'])
  assert.deepEqual(
    [bad.code, bad.err],
    [1, 'error (invalid_config): --port: port must be a whole number from 0 to 65535, not "99999".\n'],
  )
})

test('config prints each setting with where it came from', async (t) => {
  const cwd = await temporaryFolder(t)
  await writeFile(join(cwd, 'skep.host.yaml'), 'workers: 3\n')
  const { code, out, err } = await run(cwd, ['config', '--api-port', '9001'], { SKEP_PORT: '9000', SKEP_PROT: '1' })
  assert.equal(code, 0)
  for (const line of [
    /^port +9000 +SKEP_PORT$/m,
    /^api.port +9001 +--api-port$/m,
    /^workers +3 +skep.host.yaml:1$/m,
    /^log.level +info +default$/m,
  ]) {
    assert.match(out, line)
  }
  assert.match(err, /^warning: SKEP_PROT is set but is no setting/)
  const settings = JSON.parse((await run(cwd, ['config', '--json'])).out)
  assert.deepEqual(
    settings.find(({ path }: { path: string }) => path === 'workers'),
    { path: 'workers', value: 3, from: 'skep.host.yaml:1' },
  )
})

test('a tag cannot steer the terminal', async (t) => {
  const { ok, upload } = await served(t)
  await upload('hello', 'x', { metadata: { tag: '\u001B[2Jgone' } })
  assert.match(await ok('versions', 'hello'), / \?\[2Jgone /)
})

test('the binary begins with a shebang', async () => {
  assert.match(await readFile(MAIN, 'utf8'), /^#!\/usr\/bin\/env node\n/)
})
