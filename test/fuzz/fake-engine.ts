import type { EngineIsolate, IsolateOptions, RunOutcome } from '../../sandbox/engine.ts'
import { Emit, Submit, SUBMIT_FIELDS } from '../../sandbox/protocol.ts'
import type { Batch } from '../../sandbox/protocol.ts'

/** An isolate in a hostile guest's hands, without the isolate: it emits what a test says. */
export class FakeIsolate implements EngineIsolate {
  emit: (batch: Batch) => void = () => {}
  /** Requests that the guest was given, by event. */
  readonly holders = new Map<number, string>()
  begun = 0
  cpuMs = 0
  isDisposed = false
  #entered: ((outcome: RunOutcome) => void) | undefined

  connect(emit: (batch: Batch) => void): void {
    this.emit = emit
  }

  async start(): Promise<RunOutcome> {
    queueMicrotask(() => this.emit([Emit.started, '', '', ['fetch']]))
    return { kind: 'ok' }
  }

  dispatch(_now: number, batch: Batch): Promise<RunOutcome> {
    this.begun = 0
    for (let at = 0; at < batch.length; at += SUBMIT_FIELDS[batch[at] as number]! + 1) {
      if (batch[at] !== Submit.fetch) continue
      this.holders.set(batch[at + 1] as number, batch[at + 2] as string)
      this.begun++
    }
    return new Promise((resolve) => {
      this.#entered = resolve
    })
  }

  /** Ends the entry that goes on, if one does. */
  return(kind: 'ok' | 'threw' | 'timeout' | 'memory'): void {
    const resolve = this.#entered
    this.#entered = undefined
    this.cpuMs += 0.01
    resolve?.(kind === 'threw' ? { kind, message: 'x', stack: 'x' } : { kind })
  }

  async flush(): Promise<void> {}

  async collect(): Promise<RunOutcome> {
    return { kind: 'ok' }
  }

  async comesToRest(): Promise<boolean> {
    return true
  }

  restedCpuMs(): number {
    return this.cpuMs
  }

  memoryBytes(): number {
    return 1_000_000
  }

  dispose(): void {
    this.isDisposed = true
    this.return('ok')
  }
}

/** The engine's own interface, as far as a sandbox uses it. */
export class FakeEngine {
  readonly made: FakeIsolate[] = []

  createIsolate(_options: IsolateOptions): FakeIsolate {
    const isolate = new FakeIsolate()
    this.made.push(isolate)
    return isolate
  }
}
