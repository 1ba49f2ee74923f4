import { askText } from '../client.ts'
import { sleep } from '../processes.ts'
import type { Report, ScenarioOptions } from '../report.ts'
import { startSkep } from '../skep.ts'
import type { SkepHost } from '../skep.ts'
import { summary } from '../statistics.ts'

const HOST = 'deploy.localhost'
const WORKERS = 2
/** As many answers in a row must be new: each goes over a connection of its own, to whichever worker takes it. */
const IN_A_ROW = 20
/** ms. */
const MOST = { deploy: 1_000, rollback: 1_000, 'second host': 2_000 }
const PATIENCE = 10_000

type Step = keyof typeof MOST

/** From the upload, the roll-back's call, or the first host's answer to a roll-back, until only the new version answers. */
export async function deploy({ rounds }: ScenarioOptions): Promise<Report> {
  const first = await startSkep({ workers: String(WORKERS) })
  try {
    const second = await startSkep({ workers: '1' }, { data: first.data })
    try {
      return await measure(first, second, rounds)
    } finally {
      await second.stop()
    }
  } finally {
    await first.stop()
  }
}

async function measure(first: SkepHost, second: SkepHost, rounds: number): Promise<Report> {
  const times: Record<Step, number[]> = { deploy: [], rollback: [], 'second host': [] }
  await first.deploy('deploy', codeOf('before'))
  await first.route('deploy', HOST)
  await only(first, 'before', performance.now())
  await only(second, 'before', performance.now())
  for (let round = 0; round < rounds; round++) {
    const [was, is] = [round === 0 ? 'before' : `version ${round - 1}`, `version ${round}`]
    const { activatedMs } = await first.deploy('deploy', codeOf(is))
    const activated = performance.now()
    times.deploy.push(activatedMs + (await only(first, is, activated)))
    times['second host'].push(await only(second, is, activated))

    const called = performance.now()
    await first.rollback('deploy')
    times.rollback.push(await only(first, was, called))
    await only(second, was, performance.now())
    // The next round starts from what this one deployed.
    await first.deploy('deploy', codeOf(is))
    await only(first, is, performance.now())
    await only(second, is, performance.now())
  }
  const problems: string[] = []
  const table = [['step', 'median ms', 'min–max', 'bound ms']]
  for (const [step, values] of Object.entries(times) as [Step, number[]][]) {
    const { median, min, max } = summary(values)
    if (max > MOST[step]) problems.push(`${step}: ${max.toFixed(0)} ms, more than ${MOST[step]}`)
    table.push([LABELS[step], median.toFixed(0), `${min.toFixed(0)}–${max.toFixed(0)}`, String(MOST[step])])
  }
  return { table, data: { workers: WORKERS, inARow: IN_A_ROW, times }, problems }
}

const LABELS: Record<Step, string> = {
  deploy: `upload → live on ${WORKERS} workers`,
  rollback: `roll-back → old version on ${WORKERS} workers`,
  'second host': 'active on one host → live on a second with the same file store',
}

function codeOf(text: string): string {
  return `export default { fetch: () => new Response(${JSON.stringify(text)}) }`
}

/** ms from `since` to the first of the answers that are all this one; what comes between must be a right answer too. */
async function only(host: SkepHost, text: string, since: number): Promise<number> {
  let firstAt = 0
  let row = 0
  while (row < IN_A_ROW) {
    const answer = await askText({ port: host.port, host: HOST })
    const now = performance.now()
    // A hostname that was just routed may be unknown to another host for as long as it believes its cache.
    if (answer.status !== 200 && answer.status !== 404)
      throw new Error(`${answer.status} while ${JSON.stringify(text)} was to come`)
    if (answer.status === 200 && answer.text === text) {
      if (row++ === 0) firstAt = now
    } else {
      row = 0
      await sleep(2)
    }
    if (now - since > PATIENCE)
      throw new Error(
        `${JSON.stringify(text)} is not live after ${PATIENCE} ms; the answer is ${answer.status} ${JSON.stringify(answer.text)}`,
      )
  }
  return firstAt - since
}
