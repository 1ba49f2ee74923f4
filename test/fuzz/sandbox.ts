import { inspect } from 'node:util'
import { randomActions, shrink } from './actions.ts'
import type { Target } from './protocol.ts'
import { Random } from './random.ts'
import { runRound } from './round.ts'

const ROUND = 300
/** Of messages: each ends the sandbox, so that few leave more to see. */
const MALFORMED = [0, 0, 0.005, 0.1]

/** The whole path behind an isolate: checks, operations, timers, instance, calls and exchanges. */
export const fuzzSandbox: Target = async ({ batches, seed }) => {
  const random = new Random(seed)
  let done = 0
  while (done < batches) {
    const actions = randomActions(random, ROUND, random.pick(MALFORMED))
    const round = await runRound(actions)
    done += round.batches
    if (round.problem === '') continue
    const fails = async (fewer: typeof actions) => (await runRound(fewer)).problem !== ''
    const smallest = await shrink(actions, fails)
    const { problem } = await runRound(smallest)
    const shown = inspect(smallest, { depth: 8, maxArrayLength: 20, maxStringLength: 80 })
    return { batches: done, failure: `sandbox, seed ${seed}: ${problem || round.problem}\n${shown}` }
  }
  return { batches: done, failure: '' }
}
