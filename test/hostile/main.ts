/**
 * The attack corpus against a real host: `node test/hostile/main.ts [--placement cell] [--groups cpu,memory] [--report]
 * [--json] [--rate N] [--quiet-seconds N] [--bench]`. `--bench` also holds the victim's p99 to three times its quiet one.
 * The host and its attackers run in a network namespace that has nothing but a loopback, where that is permitted.
 */
import { spawn, spawnSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { closeBundler } from '../../bundler/bundle.ts'
import { runCampaign } from './campaign.ts'
import { formatReport, formatSummary, formatVictim } from './report.ts'

const LOOPBACK_ONLY = 'SKEP_HOSTILE_LOOPBACK_ONLY'
const UP = 'ip link set lo up && exec "$@"'
/** By how much the victim's p99 may grow where a core is free for it. */
const MOST_TIMES_QUIET = 3

const { values } = parseArgs({
  options: {
    placement: { type: 'string', default: 'default' },
    groups: { type: 'string' },
    workers: { type: 'string', default: '2' },
    rate: { type: 'string', default: '50' },
    'quiet-seconds': { type: 'string', default: '3' },
    report: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    bench: { type: 'boolean', default: false },
  },
})

function mayUnshare(): boolean {
  return spawnSync('unshare', ['-n', 'sh', '-c', UP, 'sh', 'true'], { stdio: 'ignore' }).status === 0
}

async function here(): Promise<boolean> {
  const data = await mkdtemp(join(tmpdir(), 'skep-hostile-'))
  try {
    const placement = values.placement === 'default' ? [] : ['--placement', values.placement]
    const report = await runCampaign({
      data,
      args: ['--workers', values.workers, ...placement],
      placement: values.placement,
      rate: Number(values.rate),
      quietMs: Number(values['quiet-seconds']) * 1000,
      ...(values.groups === undefined ? {} : { groups: values.groups.split(',') }),
      passed: (group, seconds) => console.error(`${group}: ${seconds.toFixed(1)} s`),
      told: ({ group, name, problem, expected }) => {
        if (problem !== '' && !values.json) console.log(`FAIL ${group}: ${name}: expected ${expected}; ${problem}`)
      },
    })
    if (values.bench)
      for (const [group, { p99 }] of Object.entries(report.attacked))
        if (p99 > MOST_TIMES_QUIET * report.quiet.p99)
          report.problems.push(
            `${group}: the victim's p99 is ${p99.toFixed(1)} ms, ${(p99 / report.quiet.p99).toFixed(1)} times its quiet ${report.quiet.p99.toFixed(1)} ms`,
          )
    if (values.json) console.log(JSON.stringify(report))
    else if (values.report) console.log(formatReport(report))
    else console.log([...formatVictim(report), formatSummary(report)].join('\n'))
    return report.problems.length === 0 && report.results.every(({ problem }) => problem === '')
  } finally {
    await closeBundler()
    await rm(data, { recursive: true, force: true })
  }
}

if (process.env[LOOPBACK_ONLY] === undefined && mayUnshare()) {
  const again = [process.execPath, ...process.execArgv, import.meta.filename, ...process.argv.slice(2)]
  const child = spawn('unshare', ['-n', 'sh', '-c', UP, 'sh', ...again], {
    stdio: 'inherit',
    env: { ...process.env, [LOOPBACK_ONLY]: '1' },
  })
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => child.kill(signal))
  child.once('exit', (code) => process.exit(code ?? 1))
} else {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => process.exit(1))
  process.exitCode = (await here()) ? 0 : 1
}
