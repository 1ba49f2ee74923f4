import { styleText } from 'node:util'

/** What commands print. Text that came from elsewhere cannot steer the terminal. */

export function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2))
}

/** Progress and remarks, apart from what a script reads. */
export function note(text: string): void {
  process.stderr.write(`${clean(text)}\n`)
}

export function warn(text: string): void {
  process.stderr.write(`${styleText('yellow', 'warning', { stream: process.stderr })}: ${clean(text)}\n`)
}

/** Columns under their headings; `empty` where there are no rows. */
export function printTable(headings: string[], rows: string[][], empty: string): void {
  if (rows.length === 0) return note(empty)
  const cells = [headings, ...rows].map((row) => row.map(clean))
  const widths = headings.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)))
  for (const [index, row] of cells.entries()) {
    const line = row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd()
    print(index === 0 ? styleText('bold', line) : line)
  }
}

/** Without control characters, but for line ends. */
export function clean(text: string): string {
  // oxlint-disable-next-line no-control-regex -- these are what is taken out
  return text.replace(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/g, '?')
}

/** '2026-01-31 12:00' in UTC. */
export function shortDate(iso: string): string {
  return iso.slice(0, 16).replace('T', ' ')
}
