import type { Parameters } from 'fast-check'
import { newSeed } from './random.ts'

/**
 * How often a property is tried: `usual` times, or FUZZ_RUNS, with the seed FUZZ_SEED where a failure is to be had again.
 * fast-check prints seed and path of what fails, made as small as it gets.
 */
export function runs(usual: number): Pick<Parameters, 'numRuns' | 'seed' | 'endOnFailure'> {
  const { FUZZ_RUNS, FUZZ_SEED } = process.env
  return {
    numRuns: FUZZ_RUNS === undefined ? usual : Number(FUZZ_RUNS),
    seed: FUZZ_SEED === undefined ? newSeed() | 0 : Number(FUZZ_SEED),
  }
}
