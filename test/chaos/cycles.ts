/**
 * Creates, runs and disposes of isolates in one process, and looks whether anything of them stays:
 *
 *     node test/chaos/cycles.ts [--cycles 10000] [--through sandbox|host] [--percent 5]
 *
 * `sandbox`: an isolate and its sandbox. `host`: the same by way of router and pool, each cycle a function whose version is
 * new, with the loaded one evicted. Exits with 1 when something grows.
 */
import { spawnSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { childEnvironment } from '../../host/child-env.ts'
import { throughHost } from './cycle-host.ts'
import { throughSandbox } from './cycle-sandbox.ts'
import { describe, judge, sampleOf } from './series.ts'
import type { Sample, Verdict } from './series.ts'

export interface Cycler {
  /** Number `index`: makes an isolate, runs it, and lets go of it. Throws for a wrong answer. */
  cycle(index: number): Promise<void>
  close(): Promise<void>
}

/** Runs the cycles, and judges what the process holds. */
async function runCycles(through: string, cycles: number, most: number): Promise<Verdict[]> {
  const cycler = through === 'host' ? await throughHost() : await throughSandbox()
  const samples: Sample[] = []
  // To look is to collect garbage, which takes as long as some cycles.
  const every = Math.max(10, Math.floor(cycles / 100))
  for (let index = 0; index < cycles; index++) {
    await cycler.cycle(index)
    if ((index + 1) % every !== 0) continue
    await rest()
    samples.push(sampleOf('self')!)
    if (samples.length % 10 === 0) console.log(`${index + 1} cycles: ${JSON.stringify(samples.at(-1))}`)
  }
  await cycler.close()
  return [
    judge(
      'RSS, MB',
      samples.map((sample) => sample.rssMb),
      most,
    ),
    judge(
      'file descriptors',
      samples.map((sample) => sample.handles),
      0,
      1,
    ),
    judge(
      'threads',
      samples.map((sample) => sample.threads),
      0,
      8,
    ),
  ]
}

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** What nobody holds any more goes: V8 gives it up when it sees fit, and isolated-vm some turns of the loop after that. */
async function rest(): Promise<void> {
  for (let turn = 0; turn < 2; turn++) {
    collect()
    await sleep(10)
  }
}

/** In a process as workers and cells are: with their environment. Exits like it. */
function runInChild(): never {
  const { status } = spawnSync(process.execPath, ['--no-node-snapshot', ...process.argv.slice(1)], {
    stdio: 'inherit',
    env: { ...process.env, ...childEnvironment(), SKEP_CYCLES_CHILD: '1' },
  })
  process.exit(status ?? 1)
}

if (import.meta.main) {
  if (process.env['SKEP_CYCLES_CHILD'] === undefined) runInChild()
  const { values } = parseArgs({
    options: {
      cycles: { type: 'string', default: '10000' },
      through: { type: 'string', default: 'sandbox' },
      percent: { type: 'string', default: '5' },
    },
  })
  const began = performance.now()
  const verdicts = await runCycles(values.through, Number(values.cycles), Number(values.percent) / 100)
  console.log(`${values.cycles} cycles through ${values.through} in ${Math.round((performance.now() - began) / 1000)} s`)
  for (const verdict of verdicts) console.log(describe(verdict))
  process.exit(verdicts.every((verdict) => verdict.isFlat) ? 0 : 1)
}
