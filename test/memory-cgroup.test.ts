/** Memory cgroups that the real kernel holds real processes to. Skipped where it does not permit that, in CI too: no service could be installed. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { promisify } from 'node:util'
import { pino } from 'pino'
import { createHost } from '../host/create-host.ts'
import { MemoryGroups } from '../host/memory-cgroup.ts'
import { eventually, isGone, startServed, temporaryFolder } from './served.ts'
import type { Served } from './served.ts'

const MB = 1_048_576

/** Asked in a process of its own, which may have to move. */
if (process.argv[2] === 'ask') {
  const log = pino({}, { write: (line: string) => process.stdout.write(line) })
  MemoryGroups.open(1_000 * MB, { log })
  process.exit(0)
}

const ask = await promisify(execFile)(process.execPath, [import.meta.filename, 'ask'])
const { why, folder = '' } = JSON.parse(ask.stdout) as { why?: string; folder?: string }
const skip = why === undefined ? false : `no memory cgroups here: ${why}`

test('an embedded host has memory cgroups only when it is asked to', async (t) => {
  const data = await temporaryFolder(t)
  const said = async (guard: { cgroup?: 'auto' | 'off' }) => {
    const lines: string[] = []
    const host = await createHost({ data, guard, log: pino({}, { write: (line: string) => lines.push(line) }) })
    await host.close()
    return lines.filter((line) => line.includes('memory cgroups')).length
  }
  assert.deepEqual([await said({}), await said({ cgroup: 'off' }), await said({ cgroup: 'auto' })], [0, 0, 1])
})

suite('memory cgroups of this machine', { skip, timeout: 120_000 }, () => {
  test('a cell that outgrows its own is ended by the kernel, its function is held to account, and nobody else notices', async () => {
    const child = join(import.meta.dirname, 'memory-cgroup.child.ts')
    const { stdout } = await promisify(execFile)(process.execPath, ['--no-node-snapshot', child])
    assert.match(stdout, /"limitMb":300,"peakMb":\d+,"msg":"the kernel ended a cell: it reached the limit of its memory cgroup"/)
    const result = stdout.split('\n').find((line) => line.startsWith('{"before"'))
    assert.deepEqual(JSON.parse(result!), {
      ...{ before: 2, failure: 'worker_lost', how: 'over_memory', state: 'quarantined', counts: { process_lost: 1 } },
      ...{ other: 'up', left: 0 },
    })
  })

  suite('skep serve', () => {
    let served: Served
    let data: string
    before(async () => {
      data = await mkdtemp(join(tmpdir(), 'skep-test-'))
      const env = { SKEP_PLACEMENT: 'inline', SKEP_GUARD_RSS_MB: '1000', SKEP_CEILINGS_MEMORY_MB: '64' }
      served = await startServed({ data, env })
    })
    after(async () => {
      await served.stop()
      await rm(data, { recursive: true, force: true })
    })

    const groupOf = async (pid: number) => {
      const text = await readFile(`/proc/${pid}/cgroup`, 'utf8')
      return /(?:^0:|memory[^:]*):.*\/(skep-\d+-\d+)$/m.exec(text)?.[1]
    }
    /** Of this host. */
    const groups = async () => (await readdir(folder)).filter((name) => name.startsWith(`skep-${served.process.pid}-`))

    test('each worker is in a group of its own', async () => {
      const { pids } = await served.status()
      const names = await Promise.all(pids.map(groupOf))
      assert.equal(new Set(names).size, 2)
      assert.deepEqual((await groups()).toSorted(), names.toSorted())
    })

    test('one that reaches its limit is replaced, with the reason in the log, and its group is gone', async () => {
      await writeFile(
        join(data, 'hoard.js'),
        `const held = []
         export default { fetch() { for (let i = 0; i < 5; i++) held.push(new Uint8Array(${MB * 8}).fill(i)); return new Response('held') } }`,
      )
      await served.skep('deploy', join(data, 'hoard.js'), '--name', 'hoard', '--host', 'hoard.localhost')
      assert.equal((await served.get('hoard.localhost')).status, 200)
      const { pids } = await served.status()
      // As if it had come to hold far more.
      const shrunk = await Promise.all(
        pids.map(async (pid) => {
          const group = join(folder, (await groupOf(pid))!)
          const version1 = (await readdir(group)).includes('memory.limit_in_bytes')
          const used = Number(await readFile(join(group, version1 ? 'memory.usage_in_bytes' : 'memory.current'), 'utf8'))
          await writeFile(join(group, version1 ? 'memory.limit_in_bytes' : 'memory.max'), String(used + 8 * MB))
          return group
        }),
      )
      await eventually(
        'both workers are lost',
        async () => {
          await Promise.all([1, 2, 3, 4].map(() => served.get('hoard.localhost').catch(() => {})))
          return (await Promise.all(pids.map(isGone))).every(Boolean)
        },
        60_000,
      )
      await served.logged(/"limitMb":\d+,"peakMb":\d+,.*a worker reached the limit of its memory cgroup and is started again/)
      await eventually('others listen', async () => (await served.status()).pids.length === 2, 30_000)
      const left = await groups()
      const next = await Promise.all((await served.status()).pids.map(groupOf))
      assert.ok(next.every((name) => left.includes(name!)))
      assert.ok(!shrunk.some((group) => left.includes(basename(group))))
      const text = await (await fetch(`http://127.0.0.1:${served.apiPort}/metrics`)).text()
      assert.match(text, /skep_worker_restarts_total\{reason="memory"\} [1-9]/)
    })

    test('nothing is left after the host', async () => {
      await served.stop()
      assert.deepEqual(await groups(), [])
    })
  })

  test('off is off', async (t) => {
    const data = await mkdtemp(join(tmpdir(), 'skep-test-'))
    const served = await startServed({ data, args: ['--workers', '1', '--guard-cgroup', 'off'] })
    t.after(async () => {
      await served.stop()
      await rm(data, { recursive: true, force: true })
    })
    const [pid] = (await served.status()).pids
    assert.doesNotMatch(await readFile(`/proc/${pid}/cgroup`, 'utf8'), /skep-\d/)
    assert.ok(!served.log.some((line) => line.includes('memory cgroups')))
  })
})
