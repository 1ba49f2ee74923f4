import { readdirSync, readFileSync } from 'node:fs'

/** What a process holds, seen from outside. */
export interface Sample {
  /** Resident memory, MB. */
  rssMb: number
  handles: number
  threads: number
}

/** undefined once the process is gone. */
export function sampleOf(pid: number | 'self'): Sample | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)![1])
    return { rssMb: field('VmRSS') / 1024, handles: readdirSync(`/proc/${pid}/fd`).length, threads: field('Threads') }
  } catch {
    // Gone, or a zombie, whose status has no VmRSS.
    return undefined
  }
}

export interface Verdict {
  name: string
  /** Of the very first value, of the first third after warm-up, of the last third. */
  start: number
  before: number
  after: number
  /** after / before − 1. */
  growth: number
  isFlat: boolean
}

/**
 * Whether a series stands still. Its first fifth is warm-up; of the rest, the median of the last third is compared with that
 * of the first, so that a garbage collection here or there decides nothing. `slack`: growth in the series' own unit that
 * says nothing, for small counts.
 */
export function judge(name: string, values: readonly number[], most: number, slack = 0): Verdict {
  const warm = values.slice(Math.floor(values.length / 5))
  const third = Math.max(1, Math.floor(warm.length / 3))
  const before = median(warm.slice(0, third))
  const after = median(warm.slice(-third))
  return {
    name,
    start: values[0]!,
    before,
    after,
    growth: after / before - 1,
    isFlat: after - before <= Math.max(before * most, slack),
  }
}

export function describe({ name, start, before, after, growth, isFlat }: Verdict): string {
  const percent = `${growth >= 0 ? '+' : ''}${(growth * 100).toFixed(1)} %`
  const [a, b, c] = [start, before, after].map((value) => value.toFixed(Number.isInteger(value) ? 0 : 1))
  return `${isFlat ? 'flat ' : 'GROWS'}  ${name.padEnd(34)} start ${a}, after warm-up ${b}, end ${c} (${percent})`
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)]!
}
