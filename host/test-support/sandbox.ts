import { DEFAULT_LIMITS } from '../../sandbox/limits.ts'
import type { Limits } from '../../sandbox/limits.ts'
import { Emit, Submit, SUBMIT_FIELDS } from '../../sandbox/protocol.ts'
import type { Batch, Field } from '../../sandbox/protocol.ts'
import type { Sandbox, SandboxFactory, SandboxFailure, SandboxObserver, SandboxSpec, StartReport } from '../../sandbox/sandbox.ts'

const NAMES = Object.fromEntries(Object.entries(Submit).map(([name, type]) => [type, name]))

/** A sandbox that runs nothing: it records what it is given, and emits what a test says. */
export class FakeSandbox implements Sandbox {
  readonly spec: SandboxSpec
  readonly ready: Promise<StartReport>
  readonly #observer: SandboxObserver
  readonly #started = Promise.withResolvers<StartReport>()
  /** Every message so far: its name and its fields. */
  readonly got: [name: string, ...fields: Field[]][] = []
  isDisposed = false
  isEnded = false

  constructor(spec: SandboxSpec, observer: SandboxObserver) {
    this.spec = spec
    this.#observer = observer
    this.ready = this.#started.promise
    this.ready.catch(() => {})
  }

  start(): void {
    this.#started.resolve({ cpuMs: 1, handlers: ['fetch'] })
  }

  refuse(error: Error): void {
    this.#started.reject(error)
  }

  dispatch(batch: Batch): void {
    for (let at = 0; at < batch.length;) {
      const fields = SUBMIT_FIELDS[batch[at] as number]!
      this.got.push([NAMES[batch[at] as number]!, ...batch.slice(at + 1, at + 1 + fields)])
      at += fields + 1
    }
  }

  dispose(): void {
    this.isDisposed = true
  }

  emit(...batch: Batch): void {
    this.#observer.emit(batch)
  }

  settle(report: { cpuMs?: number; memoryBytes?: number; waitedMs?: number } = {}): void {
    this.#observer.settled({ cpuMs: 0.1, memoryBytes: 1_000_000, ...report })
  }

  move(): void {
    this.#observer.move?.()
  }

  retire(): void {
    this.#observer.retire?.()
  }

  end(code: SandboxFailure['code'], notBegun: number[] = [], cpuMs?: number): void {
    this.isEnded = true
    this.#observer.ended({ code, message: `a test said ${code}`, notBegun, ...(cpuMs === undefined ? {} : { cpuMs }) })
  }

  /** Answers an event wholly and says that it is done. */
  answer(event: number, body = 'ok'): void {
    this.emit(Emit.response, event, 200, [], body, Emit.done, event)
  }

  /** Numbers of the events that it was given. */
  get events(): number[] {
    return this.messages('fetch').map(([event]) => event as number)
  }

  messages(name: keyof typeof Submit): Field[][] {
    return this.got.filter(([other]) => other === name).map(([, ...fields]) => fields)
  }
}

export class FakeFactory implements SandboxFactory {
  readonly placement = 'inline'
  readonly made: FakeSandbox[] = []
  /** Start by themselves. */
  isEager = true
  isClosed = false

  create(spec: SandboxSpec, observer: SandboxObserver): FakeSandbox {
    const sandbox = new FakeSandbox(spec, observer)
    this.made.push(sandbox)
    if (this.isEager) sandbox.start()
    return sandbox
  }

  async close(): Promise<void> {
    this.isClosed = true
  }

  get last(): FakeSandbox {
    return this.made.at(-1)!
  }
}

export function specOf(name: string, limits: Partial<Limits> = {}): SandboxSpec {
  return {
    name,
    version: '1'.repeat(16),
    tenant: 'acme',
    cordon: 'default',
    egress: { allow: [], deny: [] },
    loopId: 'skep-test',
    bundle: { code: '', async: false, modules: {}, sourceMap: '' } as SandboxSpec['bundle'],
    env: {},
    limits: { ...DEFAULT_LIMITS, ...limits },
  }
}
