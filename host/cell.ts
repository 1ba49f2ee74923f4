import { availableParallelism } from 'node:os'
import type { Egress } from '../sandbox/operations/egress.ts'
import type { Sandbox, SandboxFactory, SandboxObserver, SandboxSpec, Taint } from '../sandbox/sandbox.ts'
import { Cell } from './cell-process.ts'
import { systemClock } from './clock.ts'
import type { Clock } from './clock.ts'
import { SkepError } from './errors.ts'
import type { MemoryBounds } from './guard.ts'
import type { Log } from './log.ts'
import type { MemoryGroups } from './memory-cgroup.ts'

/** Before the next start when a cell was lost before it had loaded anything, ms: the first time, and at most. */
const PAUSE_FIRST = 100
const PAUSE_MOST = 10_000

/** Isolates that one process may hold: as many suffer when it goes. */
const MOST_ISOLATES = 200

/** A cell that holds nothing is ended after so long, ms. */
const IDLE = 60_000

export interface CellFactoryOptions {
  egress: Egress
  log: Log
  /** At a lower priority of the operating system. */
  gentle?: boolean
  /** Cores that the isolates of one cell may fill; default: all. */
  cores?: number
  maxIsolates?: number
  memory?: MemoryBounds
  /** Each cell has one of its own. */
  groups?: MemoryGroups | undefined
  /** By which it knows how long a cell has held nothing. */
  clock?: Clock
  tainted?: (taint: Taint) => void
  overMemory?: (largest: { name: string; version: string } | undefined) => void
  /** Its last cell has ended. */
  emptied?: () => void
}

/**
 * Sandboxes in child processes. One cell at a time takes new sandboxes, until it is full; when it dies or is tainted, the
 * next one does, with a growing pause between starts that fail.
 */
export class CellFactory implements SandboxFactory {
  readonly placement = 'cell'
  readonly #options: CellFactoryOptions
  readonly #clock: Clock
  /** Cells in a row that were lost before they had loaded anything. */
  #failedStarts = 0
  readonly #cells = new Set<Cell>()
  readonly #idle = new Map<Cell, object>()
  #closed = false

  constructor(options: CellFactoryOptions) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
  }

  create(spec: SandboxSpec, observer: SandboxObserver): Sandbox {
    if (this.#closed) throw new SkepError('draining', 'The host is closing')
    const cell = this.#accepting() ?? this.#spawn()
    this.#clock.clearTimeout(this.#idle.get(cell))
    this.#idle.delete(cell)
    return cell.create(spec, observer)
  }

  /** Starts a cell where none waits for work: the next sandbox need not wait for a process. */
  warm(): void {
    if (!this.#closed && this.#accepting() === undefined) this.#rests(this.#spawn())
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const timer of this.#idle.values()) this.#clock.clearTimeout(timer)
    await Promise.all([...this.#cells].map((cell) => cell.kill()))
  }

  /** Process ids, for tests and the operator. */
  get pids(): number[] {
    return [...this.#cells].map((cell) => cell.pid).filter((pid) => pid > 0)
  }

  get size(): number {
    return this.#cells.size
  }

  /** Sandboxes that its cells hold. */
  get isolates(): number {
    let count = 0
    for (const cell of this.#cells) count += cell.size
    return count
  }

  #accepting(): Cell | undefined {
    const most = this.#options.maxIsolates ?? MOST_ISOLATES
    for (const cell of this.#cells) if (cell.accepting && cell.size < most) return cell
    return undefined
  }

  #rests(cell: Cell): void {
    this.#clock.clearTimeout(this.#idle.get(cell))
    const timer = this.#clock.setTimeout(() => {
      this.#idle.delete(cell)
      void cell.kill()
    }, IDLE)
    ;(timer as Partial<NodeJS.Timeout>).unref?.()
    this.#idle.set(cell, timer)
  }

  #spawn(): Cell {
    const { egress, log, gentle = false, cores = availableParallelism(), tainted, overMemory } = this.#options
    const { memory = { soft: Infinity, hard: Infinity }, groups } = this.#options
    const pauseMs = this.#failedStarts === 0 ? 0 : Math.min(PAUSE_MOST, PAUSE_FIRST * 2 ** (this.#failedStarts - 1))
    const cell: Cell = new Cell({ egress, cores, log, gentle, memory, groups }, pauseMs, {
      gone: (proven) => {
        this.#cells.delete(cell)
        this.#clock.clearTimeout(this.#idle.get(cell))
        this.#idle.delete(cell)
        if (!proven) this.#failedStarts++
        else if (this.#cells.size === 0) this.#options.emptied?.()
      },
      proves: () => {
        this.#failedStarts = 0
      },
      emptied: () => this.#rests(cell),
      tainted: (taint) => tainted?.(taint),
      overMemory: (largest) => overMemory?.(largest),
    })
    this.#cells.add(cell)
    return cell
  }
}
