export function median(values: number[]): number {
  return quantile(values, 0.5)
}

/** `q` between 0 and 1; between two values it interpolates. */
export function quantile(values: number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (sorted.length - 1) * q
  const low = sorted[Math.floor(at)]!
  return low + (sorted[Math.ceil(at)]! - low) * (at % 1)
}

/** Largest over smallest: 1 where nothing varies. */
export function spread(values: number[]): number {
  return Math.max(...values) / Math.min(...values)
}

export function summary(values: number[]): { median: number; min: number; max: number } {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) }
}
