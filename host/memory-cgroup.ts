import { join } from 'node:path'
import { findPlace, tryRead, whyNot } from './cgroup-place.ts'
import type { GroupPlace } from './cgroup-place.ts'
import { thisSystem } from './cgroup-system.ts'
import type { CgroupSystem } from './cgroup-system.ts'
import { systemClock } from './clock.ts'
import type { Clock } from './clock.ts'
import type { Log } from './log.ts'

/** Of a group that the kernel still counts as busy: between two attempts to remove it, ms, and how many there are. */
const RETRY_EVERY = 50
const MOST_RETRIES = 100

const MB = 1_048_576

/** The files of a group, by version; what the optional ones do is welcome and not needed. */
const FILES = {
  1: {
    limit: 'memory.limit_in_bytes',
    peak: 'memory.max_usage_in_bytes',
    optional: { 'memory.swappiness': '0' },
  },
  2: {
    limit: 'memory.max',
    peak: 'memory.peak',
    optional: { 'memory.swap.max': '0', 'memory.oom.group': '1' },
  },
} as const

/** What a process is told by the one that found out: where, and how much each group may hold. */
export interface GroupSettings extends GroupPlace {
  limitBytes: number
}

export interface MemoryGroupsOptions {
  log: Log
  system?: CgroupSystem
  clock?: Clock
}

/**
 * Memory cgroups for child processes, one each: the last defence, behind the looks at resident memory that others take. The
 * kernel ends a process at its group's limit, whatever its code does, and touches nobody else.
 */
export class MemoryGroups {
  /** Of groups that are made from now on. */
  limitBytes: number
  readonly #place: GroupPlace
  readonly #log: Log
  readonly #system: CgroupSystem
  readonly #clock: Clock
  #made = 0

  constructor({ limitBytes, ...place }: GroupSettings, { log, system = thisSystem, clock = systemClock }: MemoryGroupsOptions) {
    this.limitBytes = limitBytes
    this.#place = place
    this.#log = log
    this.#system = system
    this.#clock = clock
  }

  /** Finds out whether this process may make such groups, and removes those that a host before it has left. Once, early. */
  static open(limitBytes: number, options: MemoryGroupsOptions): MemoryGroups | undefined {
    const place = findPlace(options.system ?? thisSystem)
    const groups = typeof place === 'string' ? undefined : new MemoryGroups({ ...place, limitBytes }, options)
    const why = groups === undefined ? place : groups.#try()
    if (why === undefined) {
      options.log.info({ ...groups!.#place, limitMb: Math.round(limitBytes / MB) }, 'processes have memory cgroups of their own')
      return groups
    }
    options.log.info({ why }, 'processes have no memory cgroups of their own')
    return undefined
  }

  /** For another process that makes groups there. */
  get settings(): GroupSettings {
    return { ...this.#place, limitBytes: this.limitBytes }
  }

  /** For a process that is about to be started; undefined where it has to do without. */
  create(): MemoryGroup | undefined {
    try {
      return this.#make()
    } catch (error) {
      this.#log.warn({ why: whyNot(error, this.#place.folder) }, 'a process runs without a memory cgroup of its own')
      return undefined
    }
  }

  /** Removes what processes that are gone have left. */
  sweep(): void {
    for (const name of tryList(this.#system, this.#place.folder)) {
      const maker = /^skep-(\d+)-\d+$/.exec(name)?.[1]
      if (maker !== undefined && !this.#system.isAlive(Number(maker))) this.#remove(join(this.#place.folder, name))
    }
  }

  #try(): string | undefined {
    this.sweep()
    try {
      const group = this.#make()
      const joins = this.#system.joins(group.procs)
      group.remove()
      return joins ? undefined : `a process could not be moved into a group in ${this.#place.folder}`
    } catch (error) {
      return whyNot(error, this.#place.folder)
    }
  }

  /** Named after its maker: whoever comes later knows whether it is still of use. */
  #make(): MemoryGroup {
    const { folder, version } = this.#place
    const own = join(folder, `skep-${this.#system.pid}-${++this.#made}`)
    this.#system.makeFolder(own)
    try {
      this.#system.write(join(own, FILES[version].limit), String(Math.round(this.limitBytes)))
    } catch (error) {
      this.#remove(own)
      throw error
    }
    for (const [file, text] of Object.entries(FILES[version].optional)) {
      try {
        this.#system.write(join(own, file), text)
      } catch {
        // An older kernel, or one without swap.
      }
    }
    return new MemoryGroup(own, this.settings, this.#system, () => this.#remove(own))
  }

  /** A process that has just ended, or is about to, keeps its group busy for a moment. */
  #remove(folder: string, retries = MOST_RETRIES): void {
    try {
      this.#system.removeFolder(folder)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EBUSY' || retries === 0) return
      const timer = this.#clock.setTimeout(() => this.#remove(folder, retries - 1), RETRY_EVERY)
      ;(timer as Partial<NodeJS.Timeout>).unref?.()
    }
  }
}

/** One process's. */
export class MemoryGroup {
  readonly #folder: string
  readonly #settings: GroupSettings
  readonly #system: CgroupSystem
  /** Once its process has ended. */
  readonly remove: () => void

  constructor(folder: string, settings: GroupSettings, system: CgroupSystem, remove: () => void) {
    this.#folder = folder
    this.#settings = settings
    this.#system = system
    this.remove = remove
  }

  /** The file by which a process joins; see `childCommand`. */
  get procs(): string {
    return join(this.#folder, 'cgroup.procs')
  }

  /**
   * Figures for the log where the kernel has ended its process at this limit. When a larger group or the machine has no
   * memory left, the kernel counts its victims here too: that says nothing about this one.
   */
  outgrown(): { limitMb: number; peakMb: number } | undefined {
    const { version, limitBytes } = this.#settings
    const read = (file: string) => tryRead(this.#system, join(this.#folder, file)) ?? ''
    const events = read(version === 1 ? 'memory.oom_control' : 'memory.events')
    const atLimit = version === 1 ? Number(read('memory.failcnt')) : countIn(events, 'oom')
    if (!(countIn(events, 'oom_kill') > 0 && atLimit > 0)) return undefined
    const peak = Number(read(FILES[version].peak)) || limitBytes
    return { limitMb: Math.round(limitBytes / MB), peakMb: Math.round(peak / MB) }
  }
}

function countIn(text: string, name: string): number {
  return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1] ?? 0)
}

function tryList(system: CgroupSystem, folder: string): string[] {
  try {
    return system.list(folder)
  } catch {
    return []
  }
}
