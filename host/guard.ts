import { totalmem } from 'node:os'
import { heapMbFor } from '../sandbox/memory-gauge.ts'
import { systemClock } from './clock.ts'
import type { Clock } from './clock.ts'
import type { Config } from './config.ts'

const MB = 1_048_576
/** What all workers together may hold of the machine's memory; the rest is for cells, the supervisor and the kernel. */
const SHARE = 0.7
const LEAST = 1_024 * MB
/** Of the hard bound. */
const SOFT = 0.85

/** Between two looks at the memory of this process, ms. */
const GUARD_EVERY = 1_000

export interface MemoryBounds {
  /** Resident bytes of one process from which memory is given back. */
  soft: number
  /** And from which it is replaced. */
  hard: number
}

/** For a host's first process to ask, and to tell the others: one in a memory cgroup of its own takes that for the machine. */
export function memoryBounds({ guard, workers }: Pick<Config, 'guard' | 'workers'>): MemoryBounds {
  const hard = guard.rssMb === undefined ? Math.max(LEAST, (machineMemory() * SHARE) / workers) : guard.rssMb * MB
  return { soft: hard * SOFT, hard }
}

/**
 * Where the kernel ends a process that is in a memory cgroup. Beyond the hard bound by what one function may take before
 * V8 stops it or anybody looks, lest the kernel is the first.
 */
export function kernelBound(
  { ceilings, limits, tenants }: Pick<Config, 'ceilings' | 'limits' | 'tenants'>,
  hard: number,
): number {
  const own = Object.values(tenants).map((tenant) => tenant.ceilings.memoryMb ?? 0)
  return hard + heapMbFor(Math.max(limits.memoryMb, ceilings.memoryMb, ...own)) * MB
}

let machine: number | undefined

/** Of the machine, or of the container that this process is in: as it was when it was first asked, before any move to a cgroup. */
function machineMemory(): number {
  const all = totalmem()
  const constrained = process.constrainedMemory()
  machine ??= constrained > 0 && constrained < all ? constrained : all
  return machine
}

/** What the guard sees of a process, and can do there. */
export interface Guarded {
  rssBytes(): number
  /** Gives up what nobody uses at the moment. */
  shed(): void
  /** Gives up what holds most. */
  retireLargest(): { name: string } | undefined
  /** It has grown beyond its hard bound all the same. Called once, and the guard's last word. */
  over(rssBytes: number, largest: string): void
}

/** Looks after the memory of this process itself; cells are watched by the process that started them. */
export function guardMemory(guarded: Guarded, { soft, hard }: MemoryBounds, clock: Clock = systemClock): void {
  const wait = () => {
    ;(clock.setTimeout(look, GUARD_EVERY) as Partial<NodeJS.Timeout>).unref?.()
  }
  const look = () => {
    const rssBytes = guarded.rssBytes()
    if (rssBytes > soft) {
      guarded.shed()
      const largest = guarded.retireLargest()
      if (rssBytes > hard) {
        guarded.over(rssBytes, largest?.name ?? '')
        return
      }
    }
    wait()
  }
  wait()
}
