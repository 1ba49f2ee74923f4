import { test } from 'node:test'
import { missingS3 } from '../services/s3.ts'
import { skipUnless } from '../services/require.ts'
import { Random } from './random.ts'
import type { Scenario } from './scenario.ts'
import { Stage } from './stage.ts'
import type { Setting } from './stage.ts'

/** The short form: a stage in this setting, on which every scenario that suits it runs once, in order. */
export function playOn(setting: Setting, scenarios: Scenario[]): void {
  const name = `a host with ${setting.placement === 'cell' ? 'cells' : 'isolates inline'} and ${setting.store === 's3' ? 'an S3' : 'a file'} store`
  const skip = setting.store === 's3' ? skipUnless(missingS3()) : false
  test(name, { skip, timeout: 170_000 }, async (t) => {
    const seed = Number(process.env['SKEP_SEED'] ?? Math.floor(Math.random() * 2 ** 32))
    t.diagnostic(`SKEP_SEED=${seed}`)
    const stage = await Stage.open({ ...setting, random: new Random(seed) })
    for (const scenario of scenarios) {
      if (scenario.suits?.(setting) === false) continue
      await t.test(scenario.name, () => scenario.run(stage))
    }
    await t.test('it ends well, and nothing is left', () => stage.close())
  })
}
