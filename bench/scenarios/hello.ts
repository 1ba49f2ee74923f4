import { basename, join } from 'node:path'
import { askText } from '../client.ts'
import { cpuSeconds, residentBytes, sleep, treeOf } from '../processes.ts'
import { megabytes } from '../report.ts'
import type { Report, ScenarioOptions } from '../report.ts'
import { median, spread, summary } from '../statistics.ts'
import { bareNode } from '../targets/bare-node.ts'
import { bareUws } from '../targets/bare-uws.ts'
import { skep } from '../targets/skep.ts'
import { HELLO, LOAD_CORE, SERVER_CORE } from '../targets/target.ts'
import type { Running, Target } from '../targets/target.ts'
import { requireWrk, runWrk } from '../wrk.ts'
import type { WrkRun } from '../wrk.ts'

const CONNECTIONS = 64
/** Fastest over slowest run of one target; above it the machine is too busy to tell. */
const WIDEST_SPREAD = 2
const WARM_UP_SECONDS = 2

interface Measured {
  target: Target
  running: Running
  runs: (WrkRun & { cpuMicros: number })[]
  peakBytes: number
}

/** Hello world on one core. Targets take turns, so that whatever disturbs the machine disturbs all of them. */
export async function hello({ rounds, seconds, compare }: ScenarioOptions): Promise<Report> {
  requireWrk()
  const problems: string[] = []
  const measured: Measured[] = []
  try {
    for (const target of await targetsOf(compare)) {
      try {
        const running = await target.start()
        measured.push({ target, running, runs: [], peakBytes: 0 })
        await check(target, running)
      } catch (error) {
        problems.push(`${target.name}: ${(error as Error).message}`)
      }
    }
    if (problems.length > 0) return { table: [['target']], data: [], problems }
    for (const { running } of measured) await load(running, WARM_UP_SECONDS)
    for (let round = 0; round < rounds; round++) {
      for (const one of measured) one.runs.push(await time(one.running, seconds))
    }
    for (const one of measured) {
      await check(one.target, one.running)
      one.peakBytes = residentBytes(treeOf(one.running.pid), 'VmHWM')
    }
  } finally {
    for (const { running } of measured) await running.stop()
  }
  problems.push(...measured.flatMap(faults))
  return { table: tableOf(measured), data: dataOf(measured), problems }
}

/** Of another checkout only skep on uWebSockets.js, next to this one's. */
async function targetsOf(compare: string | undefined): Promise<Target[]> {
  if (compare === undefined) return [bareUws, skep('uws'), bareNode, skep('node')]
  const other = (await import(join(compare, 'bench/targets/skep.ts'))) as { skep: typeof skep }
  return [bareUws, skep('uws'), { ...other.skep('uws'), name: `skep of ${basename(compare)}` }]
}

/** A figure for a wrong answer is worth nothing. */
async function check({ name }: Target, { port }: Running): Promise<void> {
  const { status, headers, text } = await askText({ port, host: HELLO.host })
  const got = JSON.stringify([status, headers['content-type'], text])
  const wanted = JSON.stringify([200, HELLO.contentType, HELLO.body])
  if (got !== wanted) throw new Error(`${name} answered ${got}, not ${wanted}`)
}

function load({ port }: Running, seconds: number): Promise<WrkRun> {
  return runWrk({ port, host: HELLO.host, connections: CONNECTIONS, seconds, core: LOAD_CORE })
}

async function time(running: Running, seconds: number): Promise<WrkRun & { cpuMicros: number }> {
  const pids = treeOf(running.pid)
  await sleep(100)
  const before = cpuSeconds(pids)
  const run = await load(running, seconds)
  return { ...run, cpuMicros: ((cpuSeconds(pids) - before) * 1e6) / run.requests }
}

function faults({ target, runs }: Measured): string[] {
  const found: string[] = []
  const failed = runs.reduce((sum, run) => sum + run.failed, 0)
  const broken = runs.reduce((sum, run) => sum + run.broken, 0)
  const widest = spread(runs.map((run) => run.perSecond))
  if (failed > 0) found.push(`${target.name}: ${failed} answers were no success`)
  if (broken > 0) found.push(`${target.name}: ${broken} connections broke or waited too long`)
  if (widest > WIDEST_SPREAD)
    found.push(`${target.name}: its fastest run is ${widest.toFixed(2)} times its slowest: the machine is too busy to tell`)
  return found
}

function tableOf(measured: Measured[]): string[][] {
  const [base] = measured.map(({ runs }) => ({
    rate: median(runs.map((run) => run.perSecond)),
    cpu: median(runs.map((run) => run.cpuMicros)),
  }))
  const head = [
    'target',
    'requests/s',
    'min–max',
    '÷ bare uWS',
    'CPU µs/request',
    'bare uWS ÷ it',
    'p50 ms',
    'p99 ms',
    'peak RSS MB',
  ]
  const rows = measured.map(({ target, runs, peakBytes }) => {
    const rate = summary(runs.map((run) => run.perSecond))
    const cpu = median(runs.map((run) => run.cpuMicros))
    return [
      target.name,
      rate.median.toFixed(0),
      `${rate.min.toFixed(0)}–${rate.max.toFixed(0)}`,
      (rate.median / base!.rate).toFixed(2),
      cpu.toFixed(2),
      (base!.cpu / cpu).toFixed(2),
      median(runs.map((run) => run.p50)).toFixed(2),
      median(runs.map((run) => run.p99)).toFixed(2),
      megabytes(peakBytes),
    ]
  })
  return [head, ...rows]
}

function dataOf(measured: Measured[]) {
  return {
    connections: CONNECTIONS,
    cores: { server: SERVER_CORE, load: LOAD_CORE },
    targets: measured.map(({ target, runs, peakBytes }) => ({ name: target.name, peakBytes, runs })),
  }
}
