/** What a scenario found. */
export interface Report {
  /** Lines of a table, first its head. */
  table: string[][]
  /** What the table leaves out: every run, for whoever doubts a median. */
  data: unknown
  /** Sentences: what did not answer rightly, varies too widely, or is past its bound. Any makes the bench fail. */
  problems: string[]
}

export interface ScenarioOptions {
  rounds: number
  seconds: number
  /** Another checkout of skep, to be measured in the same run. */
  compare: string | undefined
}

export type Scenario = (options: ScenarioOptions) => Promise<Report>

export function formatTable(table: string[][]): string {
  const widths = table[0]!.map((_, column) => Math.max(...table.map((row) => row[column]!.length)))
  const line = (row: string[]) =>
    `| ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join(' | ')} |`
  const [head, ...rows] = table
  const rule = `| ${widths.map((width, i) => (i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)).join(' | ')} |`
  return [line(head!), rule, ...rows.map(line)].join('\n')
}

export function megabytes(bytes: number): string {
  return (bytes / 1_048_576).toFixed(1)
}
