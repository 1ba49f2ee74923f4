import assert from 'node:assert/strict'
import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { startServed } from '../served.ts'
import { Random } from './random.ts'
import { makeCgroup, OUT_OF_MEMORY, RESOURCES } from './scenarios-resources.ts'
import { Stage } from './stage.ts'

test(
  'a host that runs out of something',
  { skip: process.platform !== 'linux' && 'needs prlimit', timeout: 120_000 },
  async (t) => {
    const stage = await Stage.open({ store: 'file', placement: 'inline', random: new Random(1) })
    for (const scenario of RESOURCES) await t.test(scenario.name, () => scenario.run(stage))
    const trial = makeCgroup(1 << 30)
    trial?.remove()
    const skip = trial === undefined && 'no memory cgroup can be made here'
    await t.test(OUT_OF_MEMORY.name, { skip }, () => OUT_OF_MEMORY.run(stage))
    await t.test('it ends well, and nothing is left', () => stage.close())
  },
)

test('a data folder that may not be read or written is a coded error at the start', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'skep-denied-'))
  t.after(() => rm(folder, { recursive: true }))
  // Root may read everything.
  const wrap = process.geteuid?.() === 0 ? ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] : []
  await chmod(folder, 0o755)
  await mkdir(join(folder, 'data'), { mode: 0o000 })
  const start = startServed({ data: join(folder, 'data'), env: { HOME: folder }, wrap })
  await assert.rejects(start, /store_unavailable.*EACCES|EACCES/s)
})
