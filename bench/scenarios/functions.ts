import { askText } from '../client.ts'
import { residentBytes, watchPeak } from '../processes.ts'
import { megabytes } from '../report.ts'
import type { Report } from '../report.ts'
import { onlyWorker, startSkep } from '../skep.ts'
import type { SkepHost } from '../skep.ts'
import { quantile } from '../statistics.ts'

const FUNCTIONS = 500
const LOADED = 100
const REQUESTS = 5_000
const AT_ONCE = 8
const DEPLOYS_AT_ONCE = 4
/** What RSS may grow by in the second half of the requests, when the pool has been full for long. */
const MOST_GROWTH_BYTES = 64 * 1_048_576

/** More functions than are kept loaded, asked at random: right answers, evictions, memory that stays. */
export async function functions(): Promise<Report> {
  const host = await startSkep({ workers: '1', placement: 'inline', 'pool.maxIsolates': String(LOADED) })
  try {
    return await measure(host)
  } finally {
    await host.stop()
  }
}

async function measure(host: SkepHost): Promise<Report> {
  const problems: string[] = []
  const worker = await onlyWorker(host)
  await inParallel(FUNCTIONS, DEPLOYS_AT_ONCE, async (i) => {
    await host.deploy(`fn-${i}`, `export default { fetch: () => new Response('function ${i}') }`)
    await host.route(`fn-${i}`, `fn-${i}.localhost`)
  })

  const before = residentBytes([worker])
  const stopWatching = watchPeak(() => residentBytes([worker]))
  const latencies: number[] = []
  let halfway = 0
  let most = 0
  const random = generator(1)
  await inParallel(REQUESTS, AT_ONCE, async (i) => {
    const n = Math.floor(random() * FUNCTIONS)
    const began = performance.now()
    const { status, text } = await askText({ port: host.port, host: `fn-${n}.localhost` })
    latencies.push(performance.now() - began)
    if ((status !== 200 || text !== `function ${n}`) && problems.length < 5)
      problems.push(`function ${n} answered ${status} ${JSON.stringify(text)}`)
    if (i === REQUESTS / 2) halfway = residentBytes([worker])
    if (i % 500 === 0) most = Math.max(most, series(await host.metrics(), 'skep_isolates{state="ready"}'))
  })
  const after = residentBytes([worker])
  const peak = stopWatching()

  const metrics = await host.metrics()
  const coldStarts = series(metrics, 'skep_cold_starts_total')
  const evictions = series(metrics, 'skep_isolate_evictions_total{reason="count"}')
  const [p50, p99] = [bucketQuantile(metrics, 0.5), bucketQuantile(metrics, 0.99)]
  if (most > LOADED) problems.push(`${most} functions were loaded at once; ${LOADED} may be`)
  if (evictions === 0) problems.push('nothing was evicted')
  if (after - halfway > MOST_GROWTH_BYTES) problems.push(`the worker grew by ${megabytes(after - halfway)} MB in the second half`)

  const table = [
    [
      'functions',
      'loaded at most',
      'requests',
      'cold starts',
      'evictions',
      'cold start p50 ms',
      'p99 ms',
      'request p50 ms',
      'p99 ms',
      'RSS before MB',
      'half MB',
      'end MB',
      'peak MB',
    ],
    [
      String(FUNCTIONS),
      String(most),
      String(REQUESTS),
      String(coldStarts),
      String(evictions),
      p50.toFixed(2),
      p99.toFixed(2),
      quantile(latencies, 0.5).toFixed(2),
      quantile(latencies, 0.99).toFixed(2),
      ...[before, halfway, after, peak].map(megabytes),
    ],
  ]
  return { table, data: { atOnce: AT_ONCE, coldStarts, evictions, p50, p99, before, halfway, after, peak }, problems }
}

async function inParallel(count: number, atOnce: number, run: (i: number) => Promise<void>): Promise<void> {
  let next = 0
  const one = async () => {
    while (next < count) await run(next++)
  }
  await Promise.all(Array.from({ length: atOnce }, one))
}

function series(metrics: string, name: string): number {
  return Number(
    metrics
      .split('\n')
      .find((line) => line.startsWith(`${name} `))
      ?.split(' ')[1] ?? 0,
  )
}

/** The host's own histogram, interpolated within its bucket as Prometheus does. ms. */
function bucketQuantile(metrics: string, q: number): number {
  const lines = [...metrics.matchAll(/^skep_cold_start_duration_seconds_bucket\{le="([\d.e+-]+|\+Inf)"\} (\d+)$/gm)]
  const buckets = lines.map(([, bound, count]) => ({ bound: bound === '+Inf' ? Infinity : Number(bound), count: Number(count) }))
  const wanted = q * (buckets.at(-1)?.count ?? 0)
  const at = buckets.findIndex(({ count }) => count >= wanted)
  const [below, here] = [buckets[at - 1] ?? { bound: 0, count: 0 }, buckets[at]!]
  if (here.bound === Infinity) return below.bound * 1000
  return (below.bound + ((here.bound - below.bound) * (wanted - below.count)) / (here.count - below.count)) * 1000
}

/** The same order in every run (mulberry32). */
function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}
