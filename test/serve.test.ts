import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { Agent } from 'node:http'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import { descendants, eventually, isGone, startServed, temporaryFolder } from './served.ts'
import type { Served } from './served.ts'

const CLI = join(import.meta.dirname, '../control-api/cli/main.ts')
const HELLO = 'export default { fetch: (request, env) => new Response(`hello ${env.NAME}`) }'
const SLOW = `export default { async fetch(request) {
  let n = 0
  const every = Number(new URL(request.url).searchParams.get('every') ?? 100)
  return new Response(new ReadableStream({ async pull(controller) {
    if (n === 5) return controller.close()
    await new Promise((resolve) => setTimeout(resolve, every))
    controller.enqueue(new TextEncoder().encode('line ' + ++n + '\\n'))
  } }))
} }`

for (const listener of ['uws', 'node']) {
  describe(`skep serve with two workers on ${listener}`, () => {
    let served: Served
    let folder: string
    before(async () => {
      folder = await mkdtemp(join(tmpdir(), 'skep-test-'))
      served = await startServed({ data: join(folder, 'data'), env: { SKEP_LISTENER: listener } })
      await writeFile(join(folder, 'hello.js'), HELLO)
      await writeFile(join(folder, 'slow.js'), SLOW)
    })
    after(async () => {
      await served.stop()
      await rm(folder, { recursive: true, force: true })
    })

    const workersAnswer = async (text: string) => {
      // Each connection is a new one, so the kernel hands them to both workers.
      const answers = await Promise.all(Array.from({ length: 20 }, () => served.get('hello.localhost')))
      return answers.every((answer) => answer.text === text)
    }

    test('a deployed function answers at once, and a rollback reaches every worker within a second', async () => {
      await served.skep('deploy', join(folder, 'hello.js'), '--name', 'hello', '--host', 'hello.localhost', '--var', 'NAME=one')
      const first = performance.now()
      assert.equal((await served.get('hello.localhost')).text, 'hello one')
      assert.ok(performance.now() - first < 1000)
      assert.ok(await workersAnswer('hello one'))
      await served.skep('deploy', join(folder, 'hello.js'), '--name', 'hello', '--var', 'NAME=two')
      await eventually('every worker answers with the new version', () => workersAnswer('hello two'), 1000)
      await served.skep('rollback', 'hello')
      await eventually('every worker answers with the old version', () => workersAnswer('hello one'), 1000)
    })

    test('a killed worker is started again, while the other one answers', async () => {
      const { pids } = await served.status()
      assert.equal(pids.length, 2)
      process.kill(pids[0]!, 'SIGKILL')
      await eventually('a new worker listens', async () => {
        const now = (await served.status()).pids
        return now.length === 2 && !now.includes(pids[0]!)
      })
      assert.ok(await workersAnswer('hello one'))
    })

    test('SIGHUP replaces the workers without losing a request', async () => {
      const { pids } = await served.status()
      const agent = new Agent({ keepAlive: true, maxSockets: 4 })
      const replaced = { yet: false }
      const answers: number[] = []
      served.process.kill('SIGHUP')
      const watching = served.logged(/configuration reloaded/).then(() => (replaced.yet = true))
      while (!replaced.yet) answers.push((await served.get('hello.localhost', '/', { agent })).status)
      await watching
      assert.deepEqual([...new Set(answers)], [200])
      assert.ok((await served.status()).pids.every((pid) => !pids.includes(pid)))
      agent.destroy()
    })

    test('SIGTERM lets what is in flight finish, and the process ends well', async () => {
      await served.skep('deploy', join(folder, 'slow.js'), '--name', 'slow', '--host', 'slow.localhost')
      const slow = served.get('slow.localhost', '/?every=100')
      await eventually('the slow request runs', async () => /skep_requests_total/.test(await metrics(served)), 5000)
      served.process.kill('SIGTERM')
      assert.equal((await slow).text, 'line 1\nline 2\nline 3\nline 4\nline 5\n')
      assert.deepEqual(await served.exited, { code: 0, signal: null })
    })
  })
}

async function metrics(served: Served): Promise<string> {
  return (await fetch(`http://127.0.0.1:${served.apiPort}/metrics`)).text()
}

test('no process outlives a supervisor that is killed', async (t) => {
  const folder = await temporaryFolder(t)
  const served = await startServed({ data: join(folder, 'data'), args: ['--workers', '1'], env: { SKEP_PLACEMENT: 'cell' } })
  await writeFile(join(folder, 'hello.js'), HELLO)
  await served.skep('deploy', join(folder, 'hello.js'), '--name', 'hello', '--host', 'hello.localhost', '--var', 'NAME=x')
  assert.equal((await served.get('hello.localhost')).text, 'hello x')
  const family = await descendants(served.process.pid!)
  assert.ok(family.length >= 3, `a worker and two cells: ${family.length}`)
  served.process.kill('SIGKILL')
  await eventually('every descendant is gone', async () => (await Promise.all(family.map(isGone))).every(Boolean))
})

test('a port in use is a coded error that names the port', async (t) => {
  const folder = await temporaryFolder(t)
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => void server.close())
  const { port } = server.address() as { port: number }
  for (const flag of ['--port', '--api-port']) {
    const other = flag === '--port' ? '--api-port' : '--port'
    const args = [CLI, 'serve', flag, String(port), other, '0', '--data', join(folder, 'data'), '--workers', '1']
    const error = await promisify(execFile)(process.execPath, args).then(
      () => undefined,
      (reason: { code: number; stderr: string }) => reason,
    )
    assert.equal(error?.code, 1)
    assert.match(error!.stderr, new RegExp(`port_in_use|${port} is in use`))
  }
})

test('a second host on the same store serves the new version within two seconds', async (t) => {
  const folder = await temporaryFolder(t)
  const store = `file:${join(folder, 'store')}`
  await writeFile(join(folder, 'hello.js'), HELLO)
  const first = await startServed({ data: join(folder, 'one'), args: ['--workers', '1', '--store', store] })
  t.after(() => first.stop())
  const second = await startServed({ data: join(folder, 'two'), args: ['--workers', '1', '--store', store] })
  t.after(() => second.stop())
  const deploy = (name: string) =>
    first.skep('deploy', join(folder, 'hello.js'), '--name', 'hello', '--host', 'hello.localhost', '--var', `NAME=${name}`)
  await deploy('one')
  await eventually('the other host answers', async () => (await second.get('hello.localhost')).text === 'hello one', 2000)
  await deploy('two')
  await eventually(
    'the other host has the new version',
    async () => (await second.get('hello.localhost')).text === 'hello two',
    2000,
  )
})
