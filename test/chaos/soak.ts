/**
 * Mixed load at full rate on a real host, and whether anything grows:
 *
 *     npm run soak -- [--minutes 60] [--placement inline|cell] [--seed N]
 *
 * Every process is looked at each two seconds, from outside and from inside. Prints each series' start, its median after
 * warm-up and at the end. Exits with 1 when one grows, when a request fails that must not, or something stays behind.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { eventually } from '../served.ts'
import type { Inside } from './inside.ts'
import { Load } from './load.ts'
import { Random } from './random.ts'
import { describe, judge, sampleOf } from './series.ts'
import type { Verdict } from './series.ts'
import { deployAll, deployOn, leaveEarly, MIXED, OFFENCES, startOrigin } from './soak-load.ts'
import { Stage } from './stage.ts'

const EVERY = 2_000

/** What a host may answer that has more work than it can do, on a machine that is busy with other things too. */
const SHED = ['saturated', 'overloaded']
const MOST_SHED = 0.02

export interface SoakOptions {
  ms: number
  placement: 'inline' | 'cell'
  seed: number
  clients: number
  note?: (text: string) => void
}

export interface SoakResult {
  verdicts: Verdict[]
  answered: number
  deploys: number
  /** Must be none. */
  failures: string[]
}

/** One moment: numbers by the name of their series. */
type Moment = Record<string, number>

export async function soak(options: SoakOptions): Promise<SoakResult> {
  const { ms, placement, note = () => {} } = options
  const random = new Random(options.seed)
  const insideFolder = mkdtempSync(join(tmpdir(), 'skep-inside-'))
  const origin = await startOrigin()
  const env = {
    NODE_OPTIONS: `--import=${join(import.meta.dirname, 'inside.ts')}`,
    SKEP_INSIDE: insideFolder,
    SKEP_EGRESS_ALLOW: new URL(origin.url).host,
    SKEP_POOL_MAX_ISOLATES: '24',
    SKEP_LOG_LEVEL: 'error',
  }
  const stage = await Stage.open({ store: 'file', placement, random, env })
  try {
    await deployAll(stage, origin)
    const atRest = momentOf(stage, insideFolder)
    const loads = [
      new Load(stage.served.port, MIXED, random, options.clients, 0),
      new Load(stage.served.port, OFFENCES, random, 2, 300),
    ]
    const stop = new AbortController()
    const others = [deployOn(stage, random, stop.signal), leaveEarly(stage, random, stop.signal)] as const
    const moments: Moment[] = []
    for (const end = performance.now() + ms; performance.now() < end;) {
      await Promise.race([sleep(EVERY), ...others])
      moments.push(momentOf(stage, insideFolder))
      if (moments.length % 15 === 0) note(`${moments.length * (EVERY / 1000)} s: ${JSON.stringify(rounded(moments.at(-1)!))}`)
    }
    stop.abort()
    const [deploys] = await Promise.all(others)
    await Promise.all(loads.map((load) => load.stop()))
    const answered = loads.reduce((sum, load) => sum + load.answered, stage.load.answered)
    const all = [...stage.load.failures, ...loads.flatMap((load) => load.failures)]
    const shed = all.filter(({ kind }) => SHED.includes(kind))
    const failures = all.filter((failure) => !shed.includes(failure)).map((failure) => JSON.stringify(failure))
    if (shed.length > MOST_SHED * answered) failures.push(`${shed.length} requests were turned away, beside ${answered} answers`)
    failures.push(...(await leftovers(stage, insideFolder, atRest)))
    return { verdicts: verdictsOf(moments), answered, deploys, failures }
  } finally {
    await stage.close()
    origin.close()
    rmSync(insideFolder, { recursive: true })
  }
}

/** Sums over the processes of a role; what a process says of itself is of the last time it was asked. */
function momentOf(stage: Stage, insideFolder: string): Moment {
  const moment: Moment = {}
  const add = (name: string, value: number) => (moment[name] = (moment[name] ?? 0) + value)
  for (const { pid, role } of stage.processes()) {
    const sample = sampleOf(pid)
    if (sample === undefined) continue
    add(`${role}: processes`, 1)
    add(`${role}: RSS, MB`, sample.rssMb)
    add(`${role}: file descriptors`, sample.handles)
    add(`${role}: threads`, sample.threads)
    const inside = insideOf(insideFolder, pid)
    if (inside !== undefined) {
      add(`${role}: listeners of process`, inside.listeners)
      add(
        `${role}: active resources`,
        Object.values(inside.resources).reduce((sum, count) => sum + count, 0),
      )
      add(`${role}: JS heap and external, MB`, inside.heapMb + inside.externalMb)
    }
    // Cells have no environment of ours.
    if (role !== 'cell') process.kill(pid, 'SIGUSR2')
  }
  return moment
}

function insideOf(folder: string, pid: number): Inside | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, String(pid)), 'utf8')) as Inside
  } catch {
    return undefined
  }
}

/** A series that not every moment has, of a role that had come and gone, is judged by those that have it. */
function verdictsOf(moments: Moment[]): Verdict[] {
  const names = [...new Set(moments.flatMap((moment) => Object.keys(moment)))].toSorted()
  return names.flatMap((name) => {
    const values = moments.flatMap((moment) => (name in moment ? [moment[name]!] : []))
    if (values.length < moments.length / 2) return []
    // Counts go up and down with what is in flight.
    const isMemory = name.endsWith('MB')
    return [judge(name, values, isMemory ? 0.05 : 0.1, isMemory ? 0 : 8)]
  })
}

/** What should have ended with the load. */
async function leftovers(stage: Stage, insideFolder: string, atRest: Moment): Promise<string[]> {
  const left: string[] = []
  const client = await stage.client()
  await stage.load.stop()
  await eventually('nothing is in flight', async () => {
    const { workers } = await client.call<{ workers: { inFlight: number; draining: number }[] }>('/v1/status')
    return workers.every(({ inFlight, draining }) => inFlight === 0 && draining === 0)
  }).catch((error: Error) => left.push(error.message))
  const handles = 'worker: file descriptors'
  await eventually(
    'descriptors are as before',
    async () => momentOf(stage, insideFolder)[handles]! <= atRest[handles]! + 4,
    15_000,
  ).catch((error: Error) =>
    left.push(`${error.message}: ${atRest[handles]} before, ${momentOf(stage, insideFolder)[handles]} now`),
  )
  return left
}

function rounded(moment: Moment): Moment {
  return Object.fromEntries(Object.entries(moment).map(([name, value]) => [name, Math.round(value * 10) / 10]))
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '60' },
      placement: { type: 'string', default: 'inline' },
      clients: { type: 'string', default: '12' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 32)) },
    },
  })
  console.log(`seed ${values.seed}`)
  const result = await soak({
    ms: Number(values.minutes) * 60_000,
    placement: values.placement === 'cell' ? 'cell' : 'inline',
    seed: Number(values.seed),
    clients: Number(values.clients),
    note: (text) => console.log(text),
  })
  for (const verdict of result.verdicts) console.log(describe(verdict))
  console.log(`${result.answered} answers as they were to be, ${result.deploys} deploys, ${result.failures.length} failures`)
  for (const failure of result.failures.slice(0, 20)) console.log(failure)
  process.exit(result.failures.length === 0 && result.verdicts.every((verdict) => verdict.isFlat) ? 0 : 1)
}
