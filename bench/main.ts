/** `node bench/main.ts [scenario…] [--rounds N] [--seconds N] [--compare DIR] [--save] [--anyway]`: see README.md. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { closeBundler } from '../bundler/bundle.ts'
import { describeMachine } from './machine.ts'
import { formatTable } from './report.ts'
import type { Scenario, ScenarioOptions } from './report.ts'

const SCENARIOS: Record<string, () => Promise<Scenario>> = {
  hello: async () => (await import('./scenarios/hello.ts')).hello,
  streams: async () => (await import('./scenarios/streams.ts')).streams,
  functions: async () => (await import('./scenarios/functions.ts')).functions,
  deploy: async () => (await import('./scenarios/deploy.ts')).deploy,
  fairness: async () => (await import('./scenarios/fairness.ts')).fairness,
}

async function main(): Promise<boolean> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '4' },
      compare: { type: 'string' },
      save: { type: 'boolean', default: false },
      anyway: { type: 'boolean', default: false },
    },
  })
  const names = positionals.length > 0 ? positionals : Object.keys(SCENARIOS)
  const strange = names.find((name) => !Object.hasOwn(SCENARIOS, name))
  if (strange !== undefined) throw new Error(`There is no scenario ${strange}. There are: ${Object.keys(SCENARIOS).join(', ')}.`)
  const compare = values.compare === undefined ? undefined : resolve(values.compare)
  const options = { rounds: positive('--rounds', values.rounds), seconds: positive('--seconds', values.seconds), compare }
  let good = true
  for (const name of names) good = (await run(name, options, values)) && good
  await closeBundler()
  return good
}

/** False when there is a problem. Such a result is not kept; its figures are printed only to who asks for them anyway. */
async function run(
  name: string,
  options: ScenarioOptions,
  { save, anyway }: { save: boolean; anyway: boolean },
): Promise<boolean> {
  const machine = describeMachine()
  const scenario = await SCENARIOS[name]!()
  const { table, data, problems } = await scenario(options)
  console.log(`\n${name}`)
  for (const problem of problems) console.error(`  problem: ${problem}`)
  if (problems.length > 0 && !anyway) return false
  console.log(formatTable(table))
  const { cpu, cores, node, isolatedVm, uWebSockets, commit, load } = machine
  console.log(
    `${cpu}, ${cores} cores, load ${load[0]} before; Node ${node}, isolated-vm ${isolatedVm}, ${uWebSockets}; ${commit}`,
  )
  if (problems.length > 0) return false
  const folder = join(import.meta.dirname, 'results')
  mkdirSync(folder, { recursive: true })
  const result = { scenario: name, at: new Date().toISOString(), machine, options, table, data }
  writeFileSync(join(folder, save ? `${name}.json` : `${name}.tmp.json`), `${JSON.stringify(result, null, 2)}\n`)
  return true
}

function positive(flag: string, text: string): number {
  const value = Number(text)
  if (Number.isInteger(value) && value > 0) return value
  throw new Error(`${flag} is a whole number above 0, not ${JSON.stringify(text)}.`)
}

try {
  process.exitCode = (await main()) ? 0 : 1
} catch (error) {
  console.error(`bench: ${(error as Error).message}`)
  process.exitCode = 1
}
