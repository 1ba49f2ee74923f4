/** What a function can do to processes, and what others notice of it: real hosts, real offenders. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { Agent } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { descendants, eventually, isGone, startServed, temporaryFolder } from './served.ts'
import type { Served } from './served.ts'

const VICTIM = `export default { fetch: () => new Response('fine') }`
/** V8 cannot stop `indexOf` on something that says it is long. */
const OFFENDER = `export default { fetch(request) {
  if (request.url.endsWith('/bad')) Array.prototype.indexOf.call({ length: 2 ** 53 - 1 }, 1)
  return new Response('good')
} }`
const NO_PROBATION = { SKEP_PROBATION_EVENTS: '0', SKEP_PROBATION_SECONDS: '0' }

interface Watched {
  function: string
  version: string
  state: string
  until?: string
  message: string
  offences: { kind: string }[]
}

/** Requests one after the other on kept and on new connections, until told to stop. */
function watchVictim(served: Served, host: string) {
  const agent = new Agent({ keepAlive: true, maxSockets: 6 })
  const failures: string[] = []
  let answered = 0
  const load = { stopped: false }
  const client = async (options: object) => {
    while (!load.stopped) {
      try {
        const { status, text, headers } = await served.get(host, '/', options)
        if (status === 200 && text === 'fine') answered++
        else failures.push(`${status} ${headers['skep-error']}`)
      } catch (error) {
        failures.push(String(error))
      }
    }
  }
  const clients = [...Array.from({ length: 6 }, () => client({ agent })), ...Array.from({ length: 3 }, () => client({}))]
  return {
    failures,
    answered: () => answered,
    async stop() {
      load.stopped = true
      await Promise.all(clients)
      agent.destroy()
    },
  }
}

/** As `skep quarantine list` has it, without a process for each look. */
async function quarantine(served: Served): Promise<Watched[]> {
  const token = await readFile(join(served.data, 'admin-token'), 'utf8')
  const headers = { authorization: `Bearer ${token.trim()}` }
  const response = await fetch(`http://127.0.0.1:${served.apiPort}/v1/quarantine`, { headers })
  return ((await response.json()) as { items: Watched[] }).items
}

for (const listener of ['uws', 'node']) {
  describe(`skep serve with two workers on ${listener}`, { timeout: 120_000 }, () => {
    let served: Served
    let folder: string
    const deploy = async (name: string, code: string, ...args: string[]) => {
      await writeFile(join(folder, `${name}.js`), code)
      await served.skep('deploy', join(folder, `${name}.js`), '--name', name, '--host', `${name}.localhost`, ...args)
    }
    before(async () => {
      folder = await mkdtemp(join(tmpdir(), 'skep-test-'))
      served = await startServed({ data: join(folder, 'data'), env: { SKEP_LISTENER: listener, ...NO_PROBATION } })
      await deploy('victim', VICTIM)
      await deploy('offender', OFFENDER)
    })
    after(async () => {
      await served.stop()
      await rm(folder, { recursive: true, force: true })
    })

    test('code that cannot be stopped costs its worker, and no request of anybody else', async () => {
      const { pids } = await served.status()
      const victim = watchVictim(served, 'victim.localhost')
      await eventually('the victim answers', async () => victim.answered() > 50)
      assert.equal((await served.get('offender.localhost')).text, 'good')
      const bad = await served.get('offender.localhost', '/bad')
      assert.equal(bad.headers['skep-error'], 'cpu_exceeded')
      await eventually(
        'the tainted worker is replaced and gone',
        async () => {
          const now = (await served.status()).pids
          const lost = pids.filter((pid) => !now.includes(pid))
          return now.length === 2 && lost.length === 1 && (await isGone(lost[0]!))
        },
        60_000,
      )
      const answered = victim.answered()
      await eventually('the victim goes on', async () => victim.answered() > answered + 50)
      await victim.stop()
      assert.deepEqual(victim.failures, [])
      await served.logged(/a worker is replaced/)
    })

    test('the function is in quarantine in every worker, which says what it did and when it may come back', async () => {
      const answers = await Promise.all(Array.from({ length: 12 }, () => served.get('offender.localhost')))
      for (const { status, headers } of answers) {
        // The quarantine may be over by now, on a busy machine: then one of them is the try.
        if (status === 200) continue
        assert.equal(headers['skep-error'], 'quarantined')
        assert.ok(Number(headers['retry-after']) >= 1 && Number(headers['retry-after']) <= 10)
      }
      const [entry] = await quarantine(served)
      assert.equal(entry!.function, 'offender')
      assert.equal(entry!.offences.at(-1)!.kind, 'unstoppable')
      assert.match(entry!.message, /unstoppable: It could not be stopped after \d+ ms/)
      assert.match(await served.skep('show', 'offender'), /unstoppable/)
      assert.match(await served.skep('quarantine', 'list'), /default\/offender .*unstoppable/)
      await served.logged(/quarantined: unstoppable: .* It is tried again from \d{4}-/)
      const text = await (await fetch(`http://127.0.0.1:${served.apiPort}/metrics`)).text()
      assert.match(text, /skep_worker_restarts_total\{reason="taint"\} 1/)
      assert.match(text, /skep_offences_total\{kind="unstoppable"\} 1/)
    })

    test('released, it is tried with one event, and comes back by way of a process of its own', async () => {
      await served.skep('quarantine', 'release', 'offender').catch(() => '')
      await eventually('it answers again', async () => (await served.get('offender.localhost')).text === 'good', 20_000)
      await eventually(
        'it has proven itself',
        async () => {
          await served.get('offender.localhost')
          return (await quarantine(served)).length === 0
        },
        60_000,
      )
      const answers = await Promise.all(Array.from({ length: 8 }, () => served.get('offender.localhost')))
      assert.ok(answers.every(({ text }) => text === 'good'))
    })

    test('the record is on disk', async () => {
      await eventually('it is written', async () => {
        const text = await readFile(join(folder, 'data', 'conduct.json'), 'utf8').catch(() => '')
        return text.includes('default/offender') && text.includes('unstoppable')
      })
    })
  })
}

describe('processes that stop or end', { timeout: 180_000 }, () => {
  let served: Served
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'skep-test-'))
    served = await startServed({ data: join(folder, 'data'), env: NO_PROBATION })
    await writeFile(join(folder, 'victim.js'), VICTIM)
    await served.skep('deploy', join(folder, 'victim.js'), '--name', 'victim', '--host', 'victim.localhost')
  })
  after(async () => {
    await served.stop()
    await rm(folder, { recursive: true, force: true })
  })

  test('a worker that is killed leaves suspects, which answer on in processes of their own until they are proven', async () => {
    const { pids } = await served.status()
    await Promise.all(Array.from({ length: 8 }, () => served.get('victim.localhost')))
    for (const pid of pids) process.kill(pid, 'SIGKILL')
    await eventually('new workers listen', async () => {
      const now = (await served.status()).pids
      return now.length === 2 && now.every((pid) => !pids.includes(pid))
    })
    const [entry] = await quarantine(served)
    assert.deepEqual([entry?.function, entry?.state, entry?.offences[0]?.kind], ['victim', 'suspected', 'process_lost'])
    assert.equal((await served.get('victim.localhost')).text, 'fine')
    await eventually(
      'it is proven',
      async () => {
        await Promise.all(Array.from({ length: 10 }, () => served.get('victim.localhost')))
        return (await quarantine(served)).length === 0
      },
      30_000,
    )
  })

  test('a worker that is stopped is replaced', async () => {
    const { pids } = await served.status()
    process.kill(pids[0]!, 'SIGSTOP')
    await eventually('another one is in its place', async () => (await isGone(pids[0]!)) && (await workers(served)) === 2, 60_000)
    assert.equal((await served.get('victim.localhost')).text, 'fine')
    await served.logged(/"reason":"hung"/)
  })
})

test('nothing outlives a supervisor that is killed: not what is stopped, not what cannot be stopped', async (t) => {
  const folder = await temporaryFolder(t)
  const served = await startServed({ data: join(folder, 'data'), args: ['--workers', '1'], env: { SKEP_PLACEMENT: 'cell' } })
  await writeFile(join(folder, 'offender.js'), OFFENDER)
  await served.skep('deploy', join(folder, 'offender.js'), '--name', 'offender', '--host', 'offender.localhost')
  assert.equal((await served.get('offender.localhost')).text, 'good')
  const family = await descendants(served.process.pid!)
  const [worker, ...cells] = family as [number, ...number[]]
  assert.ok(cells.length >= 2)
  const used = async () => Promise.all(cells.map(cpuTicks))
  const before = await used()
  served.get('offender.localhost', '/bad').catch(() => {})
  await eventually('it runs', async () => (await used()).some((ticks, at) => ticks - before[at]! > 20))
  // The worker, which would hear of its supervisor's end and take the cell with it, cannot.
  process.kill(worker, 'SIGSTOP')
  served.process.kill('SIGKILL')
  await eventually('every descendant is gone', async () => (await Promise.all(family.map(isGone))).every(Boolean), 20_000)
})

async function cpuTicks(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return Number(fields[11] ?? 0) + Number(fields[12] ?? 0)
}

async function workers(served: Served): Promise<number> {
  return (await served.status()).pids.length
}
