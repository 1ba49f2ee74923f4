import { askText } from '../client.ts'
import { sleep } from '../processes.ts'
import type { Report, ScenarioOptions } from '../report.ts'
import { onlyWorker, startSkep } from '../skep.ts'
import { median } from '../statistics.ts'
import { LOAD_CORE, SERVER_CORE } from '../targets/target.ts'
import { startWorkerd, workerdIsMissing } from '../targets/workerd.ts'
import { requireWrk, runWrk } from '../wrk.ts'
import type { WrkRun } from '../wrk.ts'

/** Requests in flight to the noisy function: its concurrency limit. */
const NOISE_CONNECTIONS = 50
/** How much the light tenant's p99 may grow beside one function that is busy or spins; beside a flood there is no bound. */
const MOST_TIMES: Record<Noise, number> = { busy: 2, spin: 2, flood: Infinity }
const WARM_UP_SECONDS = 4

const LIGHT = `export default { fetch() { return new Response('light') } }`
/** Tens of milliseconds, within the limit: nobody stops it. */
const BUSY = `export default { fetch() { let x = 0; for (let i = 0; i < 2e7; i++) x = (x + i * 7) | 0; return new Response(String(x)) } }`
const SPIN = `export default { fetch() { for (;;); } }`

/** `flood`: as many cheap requests as the worker's event loop can take. */
const NOISES = ['busy', 'spin', 'flood'] as const
type Noise = (typeof NOISES)[number]

interface Server {
  name: string
  /** Where a function answers. */
  at: Record<string, { port: number; host: string }>
  /** Noises that it survives. */
  noises: readonly Noise[]
  stop(): Promise<void>
}

interface Run {
  quiet: WrkRun
  noisy: Record<string, { light: WrkRun; noise: WrkRun }>
}

/** A light tenant's latency beside another's function that takes all the CPU time it can get, on one core. */
export async function fairness({ rounds, seconds }: ScenarioOptions): Promise<Report> {
  requireWrk()
  const problems: string[] = []
  const skipped = await workerdIsMissing()
  const starts = [skep, ...(skipped === undefined ? [workerd] : [])]
  const results: { server: Server; runs: Run[] }[] = []
  for (const start of starts) {
    const server = await start()
    try {
      for (const name of ['light', 'busy']) await check(server, name)
      // Until the light function has left probation, and the busy one is where costly ones are.
      await Promise.all([lightLoad(server, WARM_UP_SECONDS), noiseLoad(server, 'busy', WARM_UP_SECONDS)])
      const runs: Run[] = []
      for (let round = 0; round < rounds; round++) runs.push(await measure(server, seconds))
      results.push({ server, runs })
    } finally {
      await server.stop()
    }
  }
  for (const { server, runs } of results) problems.push(...faults(server, runs))
  const table = [HEAD, ...results.flatMap(({ server, runs }) => rowsOf(server, runs))]
  if (skipped !== undefined) table.push([`workerd: skipped (${skipped})`, ...HEAD.slice(1).map(() => '–')])
  const data = { noiseConnections: NOISE_CONNECTIONS, cores: { server: SERVER_CORE, load: LOAD_CORE }, skipped, results }
  return { table, data, problems }
}

async function skep(): Promise<Server> {
  const settings = {
    workers: '1',
    'limits.cpuMs': '100',
    'limits.concurrency': String(NOISE_CONNECTIONS),
    // What is refused at once makes wrk ask again at once: that would be another flood.
    'admission.maxWaitMs': '60000',
  }
  const host = await startSkep(settings, { core: SERVER_CORE })
  const codes = { light: LIGHT, busy: BUSY, spin: SPIN, flood: LIGHT }
  for (const [name, code] of Object.entries(codes)) {
    await host.deploy(name, code, name)
    await host.route(name, `${name}.localhost`, name)
  }
  await onlyWorker(host)
  const at = Object.fromEntries(Object.keys(codes).map((name) => [name, { port: host.port, host: `${name}.localhost` }]))
  return { name: 'skep', at, noises: NOISES, stop: () => host.stop() }
}

/** It stops no loop: an endless one would be its end. */
async function workerd(): Promise<Server> {
  const { ports, stop } = await startWorkerd({ light: LIGHT, busy: BUSY, flood: LIGHT })
  const at = Object.fromEntries(Object.entries(ports).map(([name, port]) => [name, { port, host: `${name}.localhost` }]))
  return { name: 'workerd', at, noises: ['busy', 'flood'], stop }
}

async function check({ name, at }: Server, fn: string): Promise<void> {
  const { status, text } = await askText(at[fn]!)
  if (status !== 200 || (fn === 'light' && text !== 'light')) throw new Error(`${name}: ${fn} answered ${status} ${text}`)
}

/** One request after the other: what a caller at ease sees. */
function lightLoad({ at }: Server, seconds: number): Promise<WrkRun> {
  return runWrk({ ...at['light']!, connections: 1, seconds, core: LOAD_CORE })
}

function noiseLoad({ at }: Server, name: string, seconds: number): Promise<WrkRun> {
  return runWrk({ ...at[name]!, connections: NOISE_CONNECTIONS, seconds, core: LOAD_CORE })
}

async function measure(server: Server, seconds: number): Promise<Run> {
  const quiet = await lightLoad(server, seconds)
  const noisy: Run['noisy'] = {}
  for (const name of server.noises) {
    const noise = noiseLoad(server, name, seconds + 2)
    await sleep(1_000)
    const light = await lightLoad(server, seconds)
    noisy[name] = { light, noise: await noise }
    await sleep(500)
  }
  return { quiet, noisy }
}

function faults({ name, noises }: Server, runs: Run[]): string[] {
  const found: string[] = []
  for (const noise of noises) {
    const lights = runs.map((run) => run.noisy[noise]!.light)
    const failed = lights.reduce((sum, light) => sum + light.failed + light.broken, 0)
    if (name !== 'skep') continue
    if (failed > 0) found.push(`skep: ${failed} of the light tenant's requests were not answered beside ${noise}`)
    const times = ratio(runs, noise)
    if (!(times <= MOST_TIMES[noise]))
      found.push(`skep: the light tenant's p99 beside ${noise} is ${times.toFixed(2)} times its quiet one`)
  }
  return found
}

function ratio(runs: Run[], noise: string): number {
  return median(runs.map((run) => run.noisy[noise]!.light.p99)) / median(runs.map((run) => run.quiet.p99))
}

const HEAD = ['light tenant on', 'beside', 'requests/s', 'not answered', 'p50 ms', 'p99 ms', 'p99 ÷ quiet', 'others’ answers/s']

function rowsOf({ name, noises }: Server, runs: Run[]): string[][] {
  const row = (beside: string, lights: WrkRun[], times: number, others: string) => [
    name,
    beside,
    median(lights.map((light) => light.perSecond)).toFixed(0),
    String(lights.reduce((sum, light) => sum + light.failed + light.broken, 0)),
    median(lights.map((light) => light.p50)).toFixed(2),
    median(lights.map((light) => light.p99)).toFixed(2),
    times.toFixed(2),
    others,
  ]
  const quiet = row('nobody', runs.map((run) => run.quiet), 1, '–') // prettier-ignore
  const noisy = noises.map((noise) => {
    const others = median(runs.map(({ noisy }) => noisy[noise]!.noise).map((run) => (run.requests - run.failed) / run.seconds))
    return row(noise, runs.map((run) => run.noisy[noise]!.light), ratio(runs, noise), others.toFixed(0)) // prettier-ignore
  })
  return [quiet, ...noisy]
}
