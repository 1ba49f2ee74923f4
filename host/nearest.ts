/** Nobody mistypes a longer word, and the time to compare grows with its length. */
const LONGEST = 100

/** The candidate most like a mistyped word; undefined when more than about a third of the letters differ. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  if (word.length > LONGEST) return undefined
  const typed = word.toLowerCase()
  let best: string | undefined
  let bestDistance = Math.max(1, Math.ceil(typed.length / 3)) + 1
  for (const candidate of candidates) {
    const distance = editDistance(typed, candidate.toLowerCase())
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance]
  }
  return best
}

/** `' Did you mean X?'`, or the list of what is known when nothing is near. */
export function suggestion(word: string, known: string[]): string {
  const near = nearest(word, known)
  if (near !== undefined) return ` Did you mean ${near}?`
  return known.length === 0 ? '' : ` Known: ${known.join(', ')}.`
}

/** Insertions, deletions, replacements and swaps of neighbours between two words. */
function editDistance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, column) => column)]
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1
      let distance = Math.min(rows[i - 1]![j]! + 1, row[j - 1]! + 1, rows[i - 1]![j - 1]! + cost)
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      if (swapped) distance = Math.min(distance, rows[i - 2]![j - 2]! + 1)
      row.push(distance)
    }
    rows.push(row)
  }
  return rows[a.length]![b.length]!
}
