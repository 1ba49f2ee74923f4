import { performance } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import ivm from 'isolated-vm'
import { ownBytes } from './bytes.ts'
import type { Prelude } from './prelude.ts'
import { Progress, PROGRESS_WORDS } from './protocol.ts'
import type { Batch, GuestOptions } from './protocol.ts'

/**
 * The V8 engine behind an interface of a few verbs. This is the only file that knows isolated-vm, so that another engine
 * can take its place.
 */
export class Engine {
  /** The heap after the prelude has run. An isolate from it is ready several times sooner than one that runs the prelude. */
  readonly #snapshot: ivm.ExternalCopy<ArrayBuffer>

  constructor(prelude: Prelude) {
    // V8 takes the check for interrupts out of short inner loops, and out of an endless one around them as well: a plain
    // `for (;;) new Array(1000).fill(1)` could not be stopped by anything.
    setFlagsFromString('--no-turboshaft-loop-unrolling')
    this.#snapshot = ivm.Isolate.createSnapshot([{ code: prelude.code, filename: prelude.filename }])
  }

  /** An isolate with a context in which the prelude has run. */
  createIsolate(options: IsolateOptions): EngineIsolate {
    return new V8Isolate(options, this.#snapshot)
  }
}

export interface IsolateOptions {
  /** V8's own limit: it stops most code that passes it, and loses the isolate over some. */
  heapMb: number
  /** V8 lost control of this isolate: its thread is parked for ever, and the process should end soon. */
  onCatastrophicError: (message: string) => void
}

export type RunOutcome =
  | { kind: 'ok' }
  /** Stopped by the time limit. */
  | { kind: 'timeout' }
  /** Stopped and disposed of by V8, over the memory limit. */
  | { kind: 'memory' }
  /** It was disposed of meanwhile. */
  | { kind: 'disposed' }
  /** Tenant code threw: the bundle's top level, or a rejection that nobody handled. */
  | { kind: 'threw'; message: string; stack: string }

/** What a sandbox needs of an isolate, and a test can fake. */
export type EngineIsolate = Pick<V8Isolate, keyof V8Isolate>

class V8Isolate {
  readonly #isolate: ivm.Isolate
  readonly #context: ivm.Context
  readonly #skep: ivm.Reference
  readonly #start: ivm.Reference
  readonly #flush: ivm.Reference
  readonly #collect: ivm.Reference
  readonly #progress = new Int32Array(new SharedArrayBuffer(4 * PROGRESS_WORDS))
  #dispatch: ivm.Reference | undefined
  /** Something of the tenant's may be running. */
  #inside = false

  constructor(options: IsolateOptions, snapshot: ivm.ExternalCopy<ArrayBuffer>) {
    this.#isolate = new ivm.Isolate({
      memoryLimit: options.heapMb,
      onCatastrophicError: options.onCatastrophicError,
      snapshot,
    })
    this.#context = this.#isolate.createContextSync()
    this.#skep = this.#context.global.getSync('__skep', { reference: true })
    this.#start = this.#skep.getSync('start', { reference: true })
    this.#flush = this.#skep.getSync('flush', { reference: true })
    this.#collect = this.#skep.getSync('collect', { reference: true })
  }

  /** Before the bundle runs. `emit` is called on the event loop with what the guest sends: to be treated as hostile. */
  connect(emit: (batch: Batch) => void, options: GuestOptions): void {
    const callback = new ivm.Callback(emit, { ignored: true })
    const guestOptions = new ivm.ExternalCopy(options).copyInto({ release: true })
    const connect = this.#skep.getSync('connect', { reference: true })
    this.#dispatch = connect.applySync(
      undefined,
      [callback, guestOptions, new ivm.ExternalCopy(this.#progress.buffer).copyInto({ release: true })],
      { result: { reference: true } },
    )
    connect.release()
  }

  /** Compiles and runs the bundle and hands its value to the prelude, which emits `started`. */
  async start(
    source: { code: string; filename: string; async: boolean; modules: Record<string, Uint8Array> },
    timeoutMs: number,
  ): Promise<RunOutcome> {
    this.#inside = true
    const outcome = await this.#run(async () => {
      await this.#setModules(source.modules, timeoutMs)
      const script = await this.#isolate.compileScript(source.code, { filename: source.filename })
      const exports = await script.run(this.#context, { reference: true, timeout: timeoutMs })
      script.release()
      await this.#start.apply(undefined, [exports.derefInto({ release: true }), source.async], { timeout: timeoutMs })
      this.#start.release()
      this.#skep.release()
    })
    this.#inside = false
    return outcome
  }

  /** Enters the isolate with a batch. `now`: ms since 1970, what its clock shows until the next entry. */
  async dispatch(now: number, batch: Batch, timeoutMs: number): Promise<RunOutcome> {
    this.#progress[Progress.begun] = 0
    this.#inside = true
    try {
      // No closure and no second promise: isolated-vm captures the stack at every call, and pays for each frame.
      await this.#dispatch!.apply(undefined, [now, batch], { timeout: timeoutMs, arguments: COPY })
      return OK
    } catch (error) {
      const outcome = outcomeOf(error, this.#isolate)
      return outcome.kind === 'threw' ? await this.#settle(outcome, timeoutMs) : outcome
    } finally {
      this.#inside = false
    }
  }

  /**
   * A rejection that nobody handled: isolated-vm has read the message and stack of what was thrown, which runs getters of
   * the tenant's after the entry and under no limit (`comesToRest` is for those that do not return). They may have left
   * microtasks and further rejections behind, which the next entry would run, on the thread of the host if it is a
   * synchronous one. So the isolate is entered under the limit until nothing is left.
   */
  async #settle(outcome: RunOutcome, timeoutMs: number): Promise<RunOutcome> {
    for (let round = 0; round < SETTLE_ROUNDS; round++) {
      const left = await this.#run(() => this.#flush.apply(undefined, [], { timeout: timeoutMs }))
      if (left.kind === 'ok') return outcome
      if (left.kind !== 'threw') return left
    }
    return { kind: 'timeout' }
  }

  /** Whether what runs ends within so many ms, after `dispose`. If not, V8 cannot stop it. */
  async comesToRest(ms: number): Promise<boolean> {
    for (const until = performance.now() + ms; this.#inside && performance.now() < until;) await delay(10)
    return !this.#inside
  }

  /** How many events of the last batch had begun, as the guest says. Read from shared memory: see `flush`. */
  get begun(): number {
    return this.#progress[Progress.begun]!
  }

  /**
   * After a run was stopped by the time limit: makes the guest send what it had not sent. Under a limit of its own, and
   * never by a synchronous call: whatever enters the isolate now first runs the microtasks that the stopped run left
   * behind, which are the tenant's, and would do so without limit on the thread of the host.
   */
  async flush(timeoutMs: number): Promise<void> {
    await this.#run(() => this.#flush.apply(undefined, [], { timeout: timeoutMs }))
  }

  /** Makes V8 look for garbage, which takes about 0.5 ms of CPU time for each MB that is in use. Under a limit, like `flush`. */
  async collect(timeoutMs: number): Promise<RunOutcome> {
    return this.#run(() => this.#collect.apply(undefined, [COLLECT_BYTES], { timeout: timeoutMs }))
  }

  /** CPU time that it has used so far, ms. While it runs, and until its thread has left it, the time that passed counts. */
  get cpuMs(): number {
    return this.#isolate.isDisposed ? 0 : Number(this.#isolate.cpuTime) / 1e6
  }

  /** The same, exactly. Only while it is at rest: it waits for a running isolate. */
  restedCpuMs(): number {
    this.memoryBytes()
    return this.cpuMs
  }

  /** Bytes in use: garbage, memory outside the heap and what only the guest knows of included. Only while it is at rest: it waits for a running isolate. */
  memoryBytes(): number {
    try {
      const { used_heap_size, externally_allocated_size } = this.#isolate.getHeapStatisticsSync()
      return used_heap_size + externally_allocated_size + Math.max(0, this.#progress[Progress.meteredKb]!) * 1024
    } catch {
      // V8 has disposed of it.
      return 0
    }
  }

  dispose(): void {
    try {
      if (!this.#isolate.isDisposed) this.#isolate.dispose()
    } catch {
      // It was disposed of by V8 between the question and the act.
    }
  }

  async #setModules(modules: Record<string, Uint8Array>, timeoutMs: number): Promise<void> {
    const names = Object.keys(modules)
    if (names.length === 0) return
    const copy = new ivm.ExternalCopy(names.map((name) => [name, ownBytes(modules[name]!).buffer, name.endsWith('.wasm')]))
    await this.#context.evalClosure(SET_MODULES, [copy.copyInto({ release: true })], { timeout: timeoutMs })
  }

  async #run(work: () => Promise<unknown>): Promise<RunOutcome> {
    try {
      await work()
      return OK
    } catch (error) {
      return outcomeOf(error, this.#isolate)
    }
  }
}

/** V8 counts what lies outside its heap, and looks for garbage once it has grown by 64 MB. */
const COLLECT_BYTES = 96 * 1_048_576

/** Of unhandled rejections that bring about another: a few are a mistake, more are meant. */
const SETTLE_ROUNDS = 4

const OK: RunOutcome = { kind: 'ok' }
const COPY = { copy: true } as const

/** Wasm is compiled by the prelude's `WebAssembly.Module`, which bounds its memories. */
const SET_MODULES = `
const modules = { __proto__: null }
for (const [name, bytes, isWasm] of $0) modules[name] = isWasm ? new WebAssembly.Module(bytes) : bytes
Object.defineProperty(globalThis, '__skep_modules', { value: modules, configurable: true })`

/** isolated-vm tells the cases apart by message only. Tenant code can throw the same words: it then ends its own isolate. */
function outcomeOf(error: unknown, isolate: ivm.Isolate): RunOutcome {
  const { message, stack } = readError(error)
  if (message === 'Script execution timed out.') return { kind: 'timeout' }
  if (isolate.isDisposed) return message.includes('memory limit') ? { kind: 'memory' } : { kind: 'disposed' }
  return { kind: 'threw', message, stack }
}

/** What a tenant throws is copied by isolated-vm: an Error's message and stack as strings, or any plain value. */
function readError(error: unknown): { message: string; stack: string } {
  if (error instanceof Error) return { message: cut(String(error.message)), stack: cut(String(error.stack ?? error.message)) }
  const text = typeof error === 'string' ? cut(error) : `a thrown ${typeof error}`
  return { message: text, stack: text }
}

/** What a tenant throws may be as long as its memory allows; it goes into a log line. */
const cut = (text: string) => text.slice(0, 16_384)
