import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { skipUnless } from '../services/require.ts'
import { missingS3 } from '../services/s3.ts'
import { Random } from './random.ts'
import { clockScenarios, skewEnvironment } from './scenarios-clock.ts'
import { Stage } from './stage.ts'

for (const store of ['file', 's3'] as const) {
  const skip = store === 's3' ? skipUnless(missingS3()) : false
  test(`a host whose calendar jumps, on a ${store} store`, { skip, timeout: 120_000 }, async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'skep-skew-'))
    t.after(() => rm(folder, { recursive: true }))
    const env = skewEnvironment(folder)
    const stage = await Stage.open({ store, placement: 'inline', random: new Random(1), env })
    for (const scenario of clockScenarios(env['SKEP_SKEW']!)) await t.test(scenario.name, () => scenario.run(stage))
    await t.test('it ends well, and nothing is left', () => stage.close())
  })
}
