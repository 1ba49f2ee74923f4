import type { EngineIsolate, IsolateOptions, RunOutcome } from '../engine.ts'
import { Emit } from '../protocol.ts'
import type { Batch } from '../protocol.ts'

/** An isolate in which nothing runs: entries end when a test says how, and the guest says what the test says. */
export class FakeIsolate implements EngineIsolate {
  readonly options: IsolateOptions
  cpuMs = 0
  /** What it says once it is at rest, when that differs. */
  restedMs: number | undefined
  begun = 0
  bytes = 0
  collections = 0
  /** What becomes of the next collections. */
  collecting: Promise<RunOutcome> = Promise.resolve({ kind: 'ok' })
  isDisposed = false
  /** Whether what runs ends once it is disposed of. */
  stops = false
  readonly batches: Batch[] = []
  #emit!: (batch: Batch) => void
  #end: ((outcome: RunOutcome) => void) | undefined

  constructor(options: IsolateOptions) {
    this.options = options
  }

  connect(emit: (batch: Batch) => void): void {
    this.#emit = emit
  }

  async start(): Promise<RunOutcome> {
    this.emit(Emit.started, '', '', ['fetch'])
    return { kind: 'ok' }
  }

  dispatch(_now: number, batch: Batch): Promise<RunOutcome> {
    this.batches.push(batch)
    return new Promise((resolve) => {
      this.#end = resolve
    })
  }

  async flush(): Promise<void> {}

  collect(): Promise<RunOutcome> {
    this.collections++
    return this.collecting
  }

  async comesToRest(): Promise<boolean> {
    return this.stops
  }

  restedCpuMs(): number {
    return this.restedMs ?? this.cpuMs
  }

  memoryBytes(): number {
    return this.bytes
  }

  dispose(): void {
    this.isDisposed = true
  }

  emit(...batch: Batch): void {
    this.#emit(batch)
  }

  /** Ends the entry that is being made, after what was submitted before has entered. */
  async end(outcome: RunOutcome = { kind: 'ok' }): Promise<void> {
    await new Promise(setImmediate)
    this.#end!(outcome)
    await new Promise(setImmediate)
  }
}

export class FakeEngine {
  readonly made: FakeIsolate[] = []

  createIsolate(options: IsolateOptions): FakeIsolate {
    const isolate = new FakeIsolate(options)
    this.made.push(isolate)
    return isolate
  }
}
