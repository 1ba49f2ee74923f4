/**
 * Fuzzes what the host makes of a hostile guest: `node --no-node-snapshot test/fuzz/protocol.ts [--batches N] [--seed N]
 * [--only sandbox|check|cell|isolate]`. A round that fails is made as small as it gets and printed with its seed.
 */
import { parseArgs } from 'node:util'
import { fuzzCell } from './cell.ts'
import { fuzzCheck } from './check.ts'
import { fuzzIsolate } from './isolate.ts'
import { newSeed } from './random.ts'
import { fuzzSandbox } from './sandbox.ts'

/** How a budget of batches is shared: those through a real isolate cost the most. */
const TARGETS = [
  { name: 'check', share: 0.4, run: fuzzCheck },
  { name: 'sandbox', share: 0.35, run: fuzzSandbox },
  { name: 'cell', share: 0.1, run: fuzzCell },
  { name: 'isolate', share: 0.15, run: fuzzIsolate },
] as const

/** What a target came to. `failure` is '' or tells all that is needed to have it again. */
export interface Outcome {
  batches: number
  failure: string
}

export type Target = (budget: { batches: number; seed: number }) => Promise<Outcome>

export async function fuzzProtocol(options: { batches: number; seed: number; only?: string }): Promise<Outcome[]> {
  const outcomes: Outcome[] = []
  for (const { name, share, run } of TARGETS) {
    if (options.only !== undefined && options.only !== name) continue
    const began = performance.now()
    const batches = Math.ceil(options.batches * (options.only === undefined ? share : 1))
    const outcome = await run({ batches, seed: options.seed })
    const seconds = (performance.now() - began) / 1000
    const rate = Math.round(outcome.batches / seconds)
    console.log(`${name}: ${outcome.batches} batches in ${seconds.toFixed(1)} s, ${rate} a second, seed ${options.seed}`)
    outcomes.push(outcome)
  }
  return outcomes
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { batches: { type: 'string', default: '10000000' }, seed: { type: 'string' }, only: { type: 'string' } },
  })
  const seed = values.seed === undefined ? newSeed() : Number(values.seed)
  const outcomes = await fuzzProtocol({
    batches: Number(values.batches),
    seed,
    ...(values.only === undefined ? {} : { only: values.only }),
  })
  for (const { failure } of outcomes) if (failure !== '') console.error(failure)
  const failed = outcomes.some(({ failure }) => failure !== '')
  console.log(`${outcomes.reduce((sum, { batches }) => sum + batches, 0)} batches, ${failed ? 'FAILED' : 'nothing wrong'}`)
  process.exitCode = failed ? 1 : 0
}
