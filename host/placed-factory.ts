import type { Egress } from '../sandbox/operations/egress.ts'
import type { Sandbox, SandboxFactory, SandboxObserver, SandboxSpec, Taint } from '../sandbox/sandbox.ts'
import { CellFactory } from './cell.ts'
import type { CellFactoryOptions } from './cell.ts'
import type { Conduct, ConductChange } from './conduct.ts'
import { SkepError } from './errors.ts'
import type { Log } from './log.ts'
import { PlacedSandbox } from './placed-sandbox.ts'
import { choose, isSamePlace, stricter } from './placement.ts'
import type { CellKind, Place, Placement } from './placement.ts'

/** Processes for single versions, in each process that has cells. Suspects beyond share one; others have to wait. */
const MOST_SOLO = 8

/** Between events that ended well and the report of them, ms: a report costs as much as a small event. */
const REPORT_EVERY = 100

/** Between two words of who is at work, ms. */
const ACTIVE_EVERY = 250

export interface PlacedFactoryOptions {
  placement: Placement
  egress: Egress
  log: Log
  conduct: Conduct
  /** For what runs in this process; without it, everything lives in cells. */
  inline?: SandboxFactory
  memory?: CellFactoryOptions['memory']
  groups?: CellFactoryOptions['groups']
  /** Cores that the isolates of one cell may fill; default: all. */
  cores?: number
  /** Versions that run, or have run since the last word, in this process itself: what may be to blame when it ends. */
  active?: (versions: { name: string; version: string }[]) => void
}

interface Group {
  kind: CellKind
  cells: CellFactory
}

/** Makes each sandbox where the policy wants it (placement.ts), and has it moved when its conduct changes that. */
export class PlacedFactory implements SandboxFactory {
  readonly placement: 'inline' | 'cell'
  readonly #options: PlacedFactoryOptions
  readonly #groups = new Map<string, Group>()
  readonly #live = new Set<PlacedSandbox>()
  readonly #active = new Set<PlacedSandbox>()
  #lastActive = ''
  #timer: NodeJS.Timeout | undefined
  readonly #unreported = new Set<PlacedSandbox>()
  #reportTimer: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: PlacedFactoryOptions) {
    this.#options = options
    this.placement = options.inline === undefined ? 'cell' : 'inline'
    options.conduct.watch((change) => this.#changed(change))
  }

  create(spec: SandboxSpec, observer: SandboxObserver): Sandbox {
    if (this.#closed) throw new SkepError('draining', 'The host is closing')
    const place = this.#placeFor(spec)
    const factory = place.kind === 'inline' ? this.#options.inline! : this.#groupFor(place).cells
    const sandbox = new PlacedSandbox(spec, place, factory, observer, this.#options.conduct, this)
    this.#live.add(sandbox)
    if (place.kind === 'inline' && this.#options.active !== undefined) {
      this.#active.add(sandbox)
      this.#tellActive()
    }
    return sandbox
  }

  /** Has a cell ready for a version that nobody has run yet. */
  warm(cordon: string): void {
    if (this.#closed || this.#options.placement === 'inline') return
    const spec = { name: '', version: '', cordon, limits: { cpuMs: 0, memoryMb: 0 } as SandboxSpec['limits'] }
    const place = choose(spec, this.#options.conduct.standing('', ''), this.#rules())
    if (place.kind !== 'inline' && place.kind !== 'solo') this.#groupFor(place).cells.warm()
  }

  /** V8 lost control of code in this process. */
  tainted({ name, version, kind, message }: Taint): void {
    this.#options.conduct.offence(name, version, { kind, message, alone: false })
  }

  /** Gives up what holds most memory in this process. */
  retireLargest(): { name: string; version: string } | undefined {
    let largest: PlacedSandbox | undefined
    for (const sandbox of this.#live)
      if (sandbox.place.kind === 'inline' && sandbox.memoryBytes > (largest?.memoryBytes ?? 0)) largest = sandbox
    largest?.move()
    return largest?.spec
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    clearTimeout(this.#reportTimer)
    this.#report()
    await Promise.all([...this.#groups.values()].map(({ cells }) => cells.close()))
    await this.#options.inline?.close()
  }

  get pids(): number[] {
    return [...this.#groups.values()].flatMap(({ cells }) => cells.pids)
  }

  /** Cells by kind. */
  counts(): Record<CellKind, number> {
    const counts = { probation: 0, cell: 0, heavy: 0, solo: 0, suspects: 0 }
    for (const { kind, cells } of this.#groups.values()) counts[kind] += cells.size
    return counts
  }

  /** A sandbox's word, at most one for each look. */
  active(sandbox: PlacedSandbox): void {
    if (sandbox.place.kind !== 'inline' || this.#options.active === undefined) return
    this.#active.add(sandbox)
    if (this.#timer === undefined) this.#tellActive()
  }

  /** A sandbox's word, after which it is asked in a moment. */
  ran(sandbox: PlacedSandbox): void {
    this.#unreported.add(sandbox)
    this.#reportTimer ??= setTimeout(() => this.#report(), REPORT_EVERY).unref()
  }

  #report(): void {
    this.#reportTimer = undefined
    for (const sandbox of this.#unreported) sandbox.report()
    this.#unreported.clear()
  }

  ended(sandbox: PlacedSandbox): void {
    this.#live.delete(sandbox)
  }

  #tellActive(): void {
    const versions = [...this.#active].map(({ spec: { name, version } }) => ({ name, version }))
    for (const sandbox of this.#active) {
      if (sandbox.isBusy) continue
      this.#active.delete(sandbox)
      sandbox.watched = false
    }
    const text = versions.map(({ name, version }) => `${name}@${version}`).join(' ')
    if (text !== this.#lastActive) this.#options.active!(versions)
    this.#lastActive = text
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      if (this.#active.size > 0 || this.#lastActive !== '') this.#tellActive()
    }, ACTIVE_EVERY).unref()
  }

  #rules(asked?: Placement) {
    return { placement: stricter(this.#options.placement, asked), inline: this.#options.inline !== undefined }
  }

  #placeFor(spec: SandboxSpec): Place {
    const { conduct } = this.#options
    const standing = conduct.standing(spec.name, spec.version)
    const place = choose(spec, standing, this.#rules(spec.placement))
    if (place.kind !== 'solo' || this.#groups.has(place.group) || this.counts().solo < MOST_SOLO) return place
    if (this.#endIdleSolo()) return place
    // Suspicion falls on many at once when a busy process ends. A try is made alone, or not at all.
    if (standing.state === 'suspected') return { kind: 'suspects', group: `suspects/${spec.cordon}` }
    if (conduct.isProbe(spec.name, spec.version)) conduct.abandoned(spec.name, spec.version)
    throw new SkepError('saturated', 'Every process that a function may have to itself is taken.')
  }

  #endIdleSolo(): boolean {
    for (const [name, { kind, cells }] of this.#groups) {
      if (kind !== 'solo' || cells.isolates > 0) continue
      this.#groups.delete(name)
      void cells.close()
      return true
    }
    return false
  }

  #groupFor(place: Exclude<Place, { kind: 'inline' }>): Group {
    const known = this.#groups.get(place.group)
    if (known !== undefined) return known
    const { egress, log, memory, groups, cores } = this.#options
    const { kind } = place
    const cells = new CellFactory({
      egress,
      log: log.child({ group: place.group }),
      gentle: kind === 'heavy' || kind === 'solo' || kind === 'suspects',
      ...(memory === undefined ? {} : { memory }),
      groups,
      ...(cores === undefined ? {} : { cores }),
      tainted: ({ name, version, kind: how, message }) =>
        this.#options.conduct.offence(name, version, { kind: how, message, alone: kind === 'solo' }),
      overMemory: (largest) => {
        if (largest === undefined) return
        const message = 'It held the most memory of a process that held too much'
        const { name, version } = largest
        this.#options.conduct.offence(name, version, { kind: 'memory_exceeded', message, alone: kind === 'solo' })
      },
      emptied: () => this.#emptied(place.group),
    })
    const group = { kind, cells }
    this.#groups.set(place.group, group)
    return group
  }

  /** Its last process has ended: versions come and go, and their groups with them. */
  #emptied(name: string): void {
    if (this.#groups.get(name)?.cells.size === 0) this.#groups.delete(name)
  }

  #changed({ name, version, standing }: ConductChange): void {
    for (const sandbox of [...this.#live]) {
      const { spec } = sandbox
      if (spec.name !== name || spec.version !== version) continue
      if (standing.state === 'quarantined' || standing.state === 'half_open') sandbox.disown()
      else if (!isSamePlace(sandbox.place, choose(spec, standing, this.#rules(spec.placement)))) sandbox.move()
    }
  }
}
