import type { Attack, Group, Outcome } from './attack.ts'
import type { Answer } from './client.ts'
import { GROUPS } from './groups.ts'
import { ECHO } from './protocol.ts'
import { Scene } from './scene.ts'
import { Victim } from './victim.ts'
import type { Figures } from './victim.ts'

export interface Result {
  group: string
  name: string
  /** What came of it, by how often. */
  got: string
  expected: string
  /** '' where it is as it has to be. */
  problem: string
  ms: number
}

export interface Report {
  placement: string
  results: Result[]
  quiet: Figures
  /** By group of attacks. */
  attacked: Record<string, Figures>
  /** Worker processes replaced, by reason. */
  restarts: Record<string, number>
  /** Beside the results' own. */
  problems: string[]
  seconds: number
}

export interface CampaignOptions {
  data: string
  /** Flags of `skep serve`. */
  args: string[]
  placement: string
  /** Names of groups; default: all. */
  groups?: string[]
  /** Of the victim, a second. */
  rate: number
  quietMs: number
  /** Called after each attack. */
  told?: (result: Result) => void
  /** Called after each group. */
  passed?: (group: string, seconds: number) => void
}

/** Why a worker may be replaced. */
const ALLOWED = ['taint', 'rss', 'reload']

/** Every attack against one real host, while a victim is measured. */
export async function runCampaign(options: CampaignOptions): Promise<Report> {
  const began = performance.now()
  const chosen = GROUPS.filter(({ name }) => options.groups === undefined || options.groups.includes(name))
  const scene = await Scene.open(options)
  const report: Report = {
    placement: options.placement,
    results: [],
    quiet: { sent: 0, answered: 0, again: 0, wrong: [], p50: 0, p99: 0, max: 0 },
    attacked: {},
    restarts: {},
    problems: [],
    seconds: 0,
  }
  let victim: Victim | undefined
  let isOver = false
  try {
    const ended = scene.served.exited.then(({ code, signal }) => {
      if (!isOver) report.problems.push(`the host ended (${signal ?? code})`)
    })
    victim = await Victim.start(scene, options.rate)
    await scene.deploy('echo', { source: ECHO })
    await sleep(Math.min(1_000, options.quietMs / 2))
    await victim.period()
    await sleep(options.quietMs)
    report.quiet = await victim.period()
    for (const group of chosen) {
      const start = performance.now()
      await Promise.race([attack(scene, group, report, options.told), ended])
      report.attacked[group.name] = await victim.period()
      options.passed?.(group.name, (performance.now() - start) / 1000)
    }
    judgeVictim(report)
    await judgeHost(scene, report)
  } finally {
    isOver = true
    await victim?.stop()
    await scene.close()
  }
  report.seconds = (performance.now() - began) / 1000
  return report
}

async function attack(scene: Scene, group: Group, report: Report, told: CampaignOptions['told']): Promise<void> {
  const waiting = [...group.attacks.entries()]
  const worker = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [index, one] = next
      const result = await attackOnce(scene, group.name, index, one)
      report.results.push(result)
      told?.(result)
    }
  }
  await Promise.all(Array.from({ length: group.atOnce ?? 4 }, worker))
}

async function attackOnce(scene: Scene, group: string, index: number, one: Attack): Promise<Result> {
  const began = performance.now()
  const expected = [one.expect].flat() as Outcome[]
  const name = `${group}-${index}`
  let got = ''
  let problem: string
  try {
    const outcome = await carryOut(scene, one, name)
    if (typeof outcome === 'string') {
      problem = outcome
      got = outcome === '' ? 'as expected' : 'otherwise'
    } else {
      got = tally(outcome.map((answer) => answer.outcome))
      problem = outcome.map((answer) => wrong(one, expected, answer)).find((text) => text !== '') ?? ''
    }
  } catch (error) {
    problem = String((error as Error).stack)
  }
  return { group, name: one.name, got, expected: expected.join(' or '), problem, ms: Math.round(performance.now() - began) }
}

/** The answers to judge, or what is wrong already ('': nothing). */
async function carryOut(scene: Scene, one: Attack, name: string): Promise<Answer[] | string> {
  const hasFunction = one.source !== undefined || one.script !== undefined
  const refused = hasFunction ? await scene.deploy(name, one).catch(codeOf) : ''
  if (one.upload === true)
    return ([one.expect].flat() as Outcome[]).includes(refused) ? '' : `the upload is answered ${refused || 'with a version'}`
  // What ends in a refusal at the upload is no worse than what ends later.
  if (refused !== '') return ([one.expect].flat() as Outcome[]).includes(refused) ? '' : `the upload is refused: ${refused}`
  const host = `${hasFunction || one.run !== undefined ? name : 'echo'}.localhost`
  if (one.run !== undefined) return one.run(scene, host)
  if (one.times === undefined) return [await inTurn(scene, one, host)]
  return Promise.all(Array.from({ length: one.times }, () => inTurn(scene, one, host)))
}

async function inTurn(scene: Scene, one: Attack, host: string): Promise<Answer> {
  const client = scene.client(host)
  try {
    let answer: Answer | undefined
    for (const sent of one.requests ?? [{}]) answer = await client.send(sent)
    return answer!
  } finally {
    client.close()
  }
}

/** The bundler's own errors are codes too. */
function codeOf(error: unknown): string {
  const { code } = error as { code?: unknown }
  if (typeof code === 'string') return code
  throw error
}

function wrong(one: Attack, expected: Outcome[], answer: Answer): string {
  const shown = `${answer.outcome} ${answer.text.slice(0, 300)}`
  if (!expected.includes(answer.outcome)) return shown
  if (one.text === undefined || (expected.length > 1 && answer.outcome !== 200)) return ''
  return new RegExp(one.text).test(answer.text) ? '' : shown
}

function tally(outcomes: Outcome[]): string {
  const counts = new Map<Outcome, number>()
  for (const outcome of outcomes) counts.set(outcome, (counts.get(outcome) ?? 0) + 1)
  return [...counts].map(([outcome, count]) => (outcomes.length === 1 ? String(outcome) : `${count} × ${outcome}`)).join(', ')
}

function judgeVictim(report: Report): void {
  for (const [when, figures] of [['quiet', report.quiet], ...Object.entries(report.attacked)] as [string, Figures][]) {
    if (figures.answered !== figures.sent)
      report.problems.push(
        `${when}: the victim has ${figures.answered} of ${figures.sent} answers: ${figures.wrong.slice(0, 5).join('; ')}`,
      )
    if (figures.sent === 0) report.problems.push(`${when}: the victim was not measured`)
  }
}

/** It is whole: nothing ended by itself, nothing was a bug of its own, and it deploys and answers. */
async function judgeHost(scene: Scene, report: Report): Promise<void> {
  for (const [sample, value] of await scene.metrics()) {
    const reason = /^skep_worker_restarts_total\{.*reason="([^"]*)"/.exec(sample)?.[1]
    if (reason !== undefined && value > 0) report.restarts[reason] = value
    if (/^skep_requests_total\{.*code="internal"/.test(sample) && value > 0)
      report.problems.push(`${value} requests were answered internal`)
  }
  for (const [reason, count] of Object.entries(report.restarts))
    if (!ALLOWED.includes(reason)) report.problems.push(`${count} workers were replaced for ${reason}`)
  for (const line of scene.served.log) {
    if (/always a bug of skep|"code":"internal"|reason of our own|broke the protocol/.test(line))
      report.problems.push(line.slice(0, 1000))
    if (/^(?:\s+at |TypeError|node:internal|Error:|#|FATAL|Segmentation)/.test(line))
      report.problems.push(`the host printed: ${line}`)
  }
  const deployed = await scene.deploy('afterwards', { source: `export default { fetch: () => new Response('whole') }` })
  const answer = await scene.send('afterwards.localhost')
  if (deployed !== '' || answer.text !== 'whole') report.problems.push(`afterwards: ${deployed} ${answer.outcome} ${answer.text}`)
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
