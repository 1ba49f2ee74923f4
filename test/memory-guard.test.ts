/** Functions that together hold more than a worker may, each within its own limit; and what others notice of it. */
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { Agent } from 'node:http'
import { join } from 'node:path'
import { test } from 'node:test'
import { eventually, isGone, startServed, temporaryFolder } from './served.ts'

const MB = 1_048_576
const HOARDERS = ['one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight']
/** Up to 72 MB of the 128 that it may hold. */
const HOARDER = `const held = []
  export default { fetch() {
    while (held.length < 9) held.push(new Uint8Array(${8 * MB}).fill(held.length + 1))
    return new Response(String(held.length))
  } }`

test('a worker beyond its bound is replaced, and no request of another tenant is lost', { timeout: 120_000 }, async (t) => {
  const folder = await temporaryFolder(t)
  const served = await startServed({
    data: join(folder, 'data'),
    args: ['--workers', '1', '--placement', 'inline', '--guard-rss-mb', '300'],
    env: { SKEP_PROBATION_EVENTS: '0', SKEP_PROBATION_SECONDS: '0', SKEP_LIMITS_CPU_MS: '1000', SKEP_CEILINGS_CPU_MS: '1000' },
  })
  t.after(() => served.stop())
  const deploy = async (name: string, code: string, tenant: string) => {
    await writeFile(join(folder, `${name}.js`), code)
    await served.skep('deploy', join(folder, `${name}.js`), '--name', name, '--tenant', tenant, '--host', `${name}.localhost`)
  }
  await deploy('victim', `export default { fetch: () => new Response('fine') }`, 'honest')
  for (const name of HOARDERS) await deploy(name, HOARDER, 'greedy')
  const [pid] = (await served.status()).pids

  const agent = new Agent({ keepAlive: true, maxSockets: 4 })
  t.after(() => agent.destroy())
  const failures: string[] = []
  let answered = 0
  const load = { stopped: false }
  t.after(() => (load.stopped = true))
  const client = async (options: object) => {
    while (!load.stopped) {
      const what = await served
        .get('victim.localhost', '/', options)
        .then(
          ({ status, text, headers }) => (status === 200 && text === 'fine' ? '' : `${status} ${headers['skep-error']}`),
          String,
        )
      if (what === '') answered++
      else failures.push(what)
    }
  }
  const clients = [client({ agent }), client({ agent }), client({})]
  await eventually('the victim answers', async () => answered > 20)

  const heard: string[] = []
  await eventually(
    'the worker is gone, and another one listens',
    async () => {
      const answers = await Promise.all(HOARDERS.map((name) => served.get(`${name}.localhost`)))
      heard.push(...answers.map(({ status, text }) => `${status} ${text}`))
      return await isGone(pid!)
    },
    60_000,
  )
  assert.ok(served.log.some((line) => /"reason":"memory","rssBytes":\d+,.*"msg":"a worker is replaced"/.test(line)))
  const before = answered
  await eventually('the victim goes on', async () => answered > before + 20)
  load.stopped = true
  await Promise.all(clients)
  assert.deepEqual(failures, [])
  assert.ok(heard.includes('200 9'), heard.slice(0, 8).join())
  const text = await (await fetch(`http://127.0.0.1:${served.apiPort}/metrics`)).text()
  assert.match(text, /skep_worker_restarts_total\{reason="memory"\} [1-9]/)
})
