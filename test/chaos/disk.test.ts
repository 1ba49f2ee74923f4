import { mkdir, mkdtemp, rmdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { skipUnless } from '../services/require.ts'
import { Random } from './random.ts'
import { DISK, mountDisk, unmountDisk } from './scenarios-disk.ts'
import { Stage } from './stage.ts'

test('a host whose data folder is on a small disk', { timeout: 120_000 }, async (t) => {
  const trial = await mkdtemp(join(tmpdir(), 'skep-disk-'))
  const missing = mountDisk(trial)
  if (missing === undefined) unmountDisk(trial)
  await rmdir(trial)
  if (missing !== undefined) return t.skip(skipUnless(missing) as string)
  const stage = await Stage.open({
    ...{ store: 'file', placement: 'inline', random: new Random(1) },
    async prepare(folder) {
      const data = join(folder, 'data')
      await mkdir(data)
      mountDisk(data)
      return () => unmountDisk(data)
    },
  })
  for (const scenario of DISK) await t.test(scenario.name, () => scenario.run(stage))
  await t.test('it ends well, and nothing is left', () => stage.close())
})
