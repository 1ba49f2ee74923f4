import { totalmem } from 'node:os'
import type { Config } from './config.ts'

const MB = 1_048_576
/** What all workers together may hold of the machine's memory; the rest is for cells, the supervisor and the kernel. */
const SHARE = 0.7
const LEAST = 1_024 * MB
/** Of the hard bound. */
const SOFT = 0.85

/** Resident bytes of one process from which memory is given back, and from which it is replaced. */
export function memoryBounds({ guard, workers }: Pick<Config, 'guard' | 'workers'>): { soft: number; hard: number } {
  const hard = guard.rssMb === undefined ? Math.max(LEAST, (machineMemory() * SHARE) / workers) : guard.rssMb * MB
  return { soft: hard * SOFT, hard }
}

/** Of the machine, or of the container that this process is in. */
function machineMemory(): number {
  const all = totalmem()
  const constrained = process.constrainedMemory()
  return constrained > 0 && constrained < all ? constrained : all
}
