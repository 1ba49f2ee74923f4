import { Emit, EMIT_FIELDS, Submit, SUBMIT_FIELDS } from '../sandbox/protocol.ts'
import type { Batch } from '../sandbox/protocol.ts'
import type {
  RunReport,
  Sandbox,
  SandboxFactory,
  SandboxFailure,
  SandboxObserver,
  SandboxSpec,
  StartReport,
} from '../sandbox/sandbox.ts'
import type { Conduct, OffenceKind } from './conduct.ts'
import { SkepError } from './errors.ts'
import type { Place } from './placement.ts'

/** What a placed sandbox tells the factory that placed it. */
export interface PlacedObserver {
  /** Something of it runs, for the first time since `watched` was last set to false. */
  active(sandbox: PlacedSandbox): void
  /** It has something to report, and waits for `report` to be called. */
  ran(sandbox: PlacedSandbox): void
  ended(sandbox: PlacedSandbox): void
}

/** A sandbox with its place and its conduct: counts what ends well, reports what does not. */
export class PlacedSandbox implements Sandbox, SandboxObserver {
  readonly spec: SandboxSpec
  readonly place: Place
  readonly ready: Promise<StartReport>
  readonly #observer: SandboxObserver
  readonly #conduct: Conduct
  readonly #placed: PlacedObserver
  readonly #inner: Sandbox
  /** It was counted as active and has not been looked at since. */
  watched = false
  memoryBytes = 0
  /** Its function was put into quarantine, or it is about to move: what it still finishes says nothing any more. */
  #disowned = false
  #loading = true
  #ended = false
  /** Events in it. The guest says itself which are done, so this alone does not tell that it is at rest. */
  #live = 0
  /** It was given something, and has not settled since. */
  #running = false
  /** Of what has not been reported. */
  #clean = 0
  #cpuMs = 0
  #reports = false
  #isProbe: boolean

  constructor(
    spec: SandboxSpec,
    place: Place,
    factory: SandboxFactory,
    observer: SandboxObserver,
    conduct: Conduct,
    placed: PlacedObserver,
  ) {
    this.spec = spec
    this.place = place
    this.#observer = observer
    this.#conduct = conduct
    this.#placed = placed
    this.#isProbe = conduct.isProbe(spec.name, spec.version)
    this.#inner = factory.create(spec, this)
    this.ready = this.#inner.ready.then(
      (report) => {
        this.#loading = false
        return report
      },
      (error: unknown) => {
        this.#refused(error)
        throw error
      },
    )
    this.ready.catch(() => {})
  }

  /** Its code may be running now. */
  get isBusy(): boolean {
    return !this.#ended && (this.#loading || this.#running || this.#live > 0)
  }

  dispatch(batch: Batch): void {
    this.#running = true
    for (let at = 0; at < batch.length; at += SUBMIT_FIELDS[batch[at] as number]! + 1) {
      if (batch[at] === Submit.fetch || batch[at] === Submit.scheduled) this.#live++
    }
    if (!this.watched) {
      this.watched = true
      this.#placed.active(this)
    }
    this.#inner.dispatch(batch)
  }

  dispose(): void {
    if (this.#ended) return
    this.#end()
    this.#inner.dispose()
  }

  emit(batch: Batch): void {
    for (let at = 0; at < batch.length; at += EMIT_FIELDS[batch[at] as number]! + 1) {
      if (batch[at] !== Emit.done || this.#live === 0) continue
      this.#live--
      this.#clean++
    }
    this.#observer.emit(batch)
  }

  settled(report: RunReport): void {
    this.#running = false
    this.memoryBytes = report.memoryBytes
    this.#cpuMs += report.cpuMs
    if (this.#isProbe && this.#clean > 0) {
      // Others wait for what becomes of it.
      this.#isProbe = false
      this.report()
    } else if (!this.#reports) {
      this.#reports = true
      this.#placed.ran(this)
    }
    this.#observer.settled(report)
  }

  /** Tells what has gone well since the last time. */
  report(): void {
    const [clean, cpuMs] = [this.#clean, this.#cpuMs]
    this.#clean = this.#cpuMs = 0
    this.#reports = false
    if (!this.#disowned && (clean > 0 || cpuMs > 0)) this.#conduct.ran(this.spec.name, this.spec.version, clean, cpuMs)
  }

  ended(failure: SandboxFailure): void {
    if (this.#ended) return
    const offence = this.#offenceOf(failure)
    if (offence === undefined) this.#end()
    else this.#accuse(offence, failure.message, failure.how)
    this.#observer.ended(failure)
  }

  /** It has used its memory up: to be replaced, wherever. */
  retire(): void {
    if (!this.#ended) this.#observer.retire?.()
  }

  /** It has another place now, or its cell takes no more work. */
  move(): void {
    if (this.#ended) return
    if (this.#observer.move !== undefined && !this.#disowned) this.#observer.move()
    else this.#observer.retire?.()
  }

  /** Its function may not go on. */
  disown(): void {
    if (this.#ended || this.#isProbe) return
    this.#disowned = true
    this.#observer.retire?.()
  }

  #offenceOf({ code, how }: SandboxFailure): OffenceKind | undefined {
    if (code === 'internal') return undefined
    if (code !== 'worker_lost') return code
    return this.isBusy && how !== 'given_up' ? 'process_lost' : undefined
  }

  #refused(error: unknown): void {
    this.#loading = false
    if (this.#ended) return
    const how = error instanceof SkepError ? (error.details?.how as SandboxFailure['how']) : undefined
    if (error instanceof SkepError && error.code === 'worker_lost' && how !== 'given_up')
      this.#accuse('process_lost', error.message, how)
    else this.#end()
  }

  #accuse(kind: OffenceKind, message: string, how: SandboxFailure['how']): void {
    const { name, version } = this.spec
    const alone = this.place.kind === 'solo'
    // First: what follows from the report must find nothing here to end.
    this.#isProbe = false
    this.#end()
    this.#conduct.offence(name, version, { kind, message, alone, killed: how === 'killed' })
  }

  #end(): void {
    this.#ended = true
    if (this.#isProbe) this.#conduct.abandoned(this.spec.name, this.spec.version)
    else this.report()
    this.#isProbe = false
    this.#placed.ended(this)
  }
}
