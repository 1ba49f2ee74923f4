/**
 * Faults at random, for as long as wanted:
 *
 *     npm run test:chaos -- [--minutes 10] [--seed N] [--store file|s3] [--placement inline|cell]
 *
 * Opens one stage after another, in every setting (or the given one), and plays scenarios on it in an order that follows
 * from the seed. Exits with 1 at the first that fails, with the seed to repeat it.
 */
import { parseArgs } from 'node:util'
import { missingS3 } from '../services/s3.ts'
import { Random } from './random.ts'
import type { Scenario } from './scenario.ts'
import { CHANGES_UNDER_LOAD } from './scenarios-changes.ts'
import { KILLS } from './scenarios-kill.ts'
import { RESOURCES } from './scenarios-resources.ts'
import { LONG_STOPS, STOPS } from './scenarios-stop.ts'
import { STORE } from './scenarios-store.ts'
import { Stage } from './stage.ts'
import type { Setting } from './stage.ts'

/** Played on one stage before the next is opened. */
const ON_ONE = 12

const SCENARIOS: Scenario[] = [...KILLS, ...STOPS, ...LONG_STOPS, ...STORE, ...RESOURCES, CHANGES_UNDER_LOAD]

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 32)) },
    store: { type: 'string' },
    placement: { type: 'string' },
  },
})
const random = new Random(Number(values.seed))
const settings = (['file', 's3'] as const)
  .flatMap((store) => (['inline', 'cell'] as const).map((placement): Setting => ({ store, placement })))
  .filter(({ store }) => (values.store ?? store) === store && (store === 'file' || missingS3() === undefined))
  .filter(({ placement }) => (values.placement ?? placement) === placement)
if (settings.length === 0) throw new Error(missingS3() ?? 'There is no such setting')
console.log(`seed ${values.seed}`)

const end = performance.now() + Number(values.minutes) * 60_000
let played = 0
while (performance.now() < end) {
  const setting = random.pick(settings)
  const stage = await Stage.open({ ...setting, random })
  let now = 'opening'
  try {
    for (let i = 0; i < ON_ONE && performance.now() < end; i++) {
      const scenario = random.pick(SCENARIOS.filter(({ suits }) => suits?.(setting) !== false))
      now = scenario.name
      const began = performance.now()
      await scenario.run(stage)
      played++
      console.log(`${setting.store} ${setting.placement}  ${((performance.now() - began) / 1000).toFixed(1)} s  ${now}`)
    }
    now = 'its end'
    await stage.close()
  } catch (error) {
    console.error(`${setting.store} ${setting.placement}: ${now}, after ${played} scenarios, seed ${values.seed}`)
    console.error(error)
    console.error(stage.served.log.slice(-40).join('\n'))
    stage.destroy()
    process.exit(1)
  }
}
console.log(`${played} scenarios, none failed`)
process.exit(0)
