import type { Report } from './campaign.ts'

/** Tables for people: every attack with what came of it, then the victim by group. */
export function formatReport(report: Report): string {
  const lines: string[] = []
  for (const { group, name, expected, got, problem, ms } of report.results) {
    const verdict = problem === '' ? 'pass' : 'FAIL'
    lines.push(
      `${verdict}  ${group.padEnd(15)} ${name.slice(0, 60).padEnd(60)} ${(got || expected).slice(0, 40).padEnd(40)} ${String(ms).padStart(6)} ms`,
    )
    if (problem !== '') lines.push(`      expected ${expected}; ${problem}`)
  }
  lines.push('', ...formatVictim(report), '', formatSummary(report))
  return lines.join('\n')
}

export function formatVictim({ quiet, attacked }: Report): string[] {
  const row = (...cells: string[]) => cells.map((cell, i) => (i === 0 ? cell.padEnd(16) : cell.padStart(10))).join('')
  return [
    row('victim', 'requests', 'answered', 'p50 ms', 'p99 ms', 'max ms', '× quiet'),
    ...[['quiet', quiet] as const, ...Object.entries(attacked)].map(([name, { sent, answered, p50, p99, max }]) =>
      row(name, String(sent), String(answered), p50.toFixed(2), p99.toFixed(2), max.toFixed(1), (p99 / quiet.p99).toFixed(1)),
    ),
  ]
}

export function formatSummary(report: Report): string {
  const failed = report.results.filter(({ problem }) => problem !== '').length
  const restarts = Object.entries(report.restarts).map(([reason, count]) => `${count} for ${reason}`)
  return [
    `${report.results.length} attacks, ${failed} not as expected; placement ${report.placement}; ${report.seconds.toFixed(0)} s`,
    `workers replaced: ${restarts.join(', ') || 'none'}`,
    ...report.problems.map((problem) => `problem: ${problem}`),
  ].join('\n')
}
