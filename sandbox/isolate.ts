import { randomBytes } from 'node:crypto'
import { createStackMapper } from '../bundler/source-map.ts'
import { SkepError } from '../host/errors.ts'
import { ownBytes } from './bytes.ts'
import { checkBatch, sortOut } from './emissions.ts'
import type { Engine, EngineIsolate, RunOutcome } from './engine.ts'
import type { EgressRules } from './operations/egress.ts'
import { Operations } from './operations/operations.ts'
import { EMIT_FIELDS, Emit, Submit, SUBMIT_FIELDS } from './protocol.ts'
import type { Batch } from './protocol.ts'
import type { Sandbox, SandboxFailure, SandboxObserver, SandboxSpec, StartReport } from './sandbox.ts'
import { Timers } from './timers.ts'

const FILENAME = 'file:///bundle.js'

/** Between two looks at the heap of a sandbox, ms: a look costs some microseconds. */
const MEMORY_INTERVAL = 100

export interface IsolateContext {
  engine: Engine
  egress: EgressRules
  /** This process holds an isolate that V8 lost control of, and should be replaced. */
  tainted: (reason: string) => void
  /** Every sandbox that has not ended. */
  live: Set<Sandbox>
}

/**
 * A sandbox whose isolate is in this process. One entry at a time: what is submitted while the guest runs waits and goes
 * in together. Everything that enters does so under a time limit; nothing else makes guest code run.
 */
export class IsolateSandbox implements Sandbox {
  readonly ready: Promise<StartReport>
  #state: 'loading' | 'ready' | 'ended' = 'loading'
  readonly #context: IsolateContext
  readonly #spec: SandboxSpec
  readonly #observer: SandboxObserver
  readonly #isolate: EngineIsolate
  readonly #operations: Operations
  readonly #timers: Timers
  readonly #mapStack: (stack: string) => string
  #inbox: Batch = []
  #running = false
  #scheduled = false
  #cpuMs = 0
  #memoryBytes = 0
  #memoryReadAt = 0
  #started: ((problem: string, stack: string, handlers: string[]) => void) | undefined

  constructor(context: IsolateContext, spec: SandboxSpec, observer: SandboxObserver) {
    this.#context = context
    this.#spec = spec
    this.#observer = observer
    context.live.add(this)
    this.#mapStack = createStackMapper(spec.bundle.sourceMap, FILENAME)
    const submit = (batch: Batch) => this.#submit(batch)
    this.#operations = new Operations(spec.limits, context.egress, submit)
    this.#timers = new Timers(submit)
    this.#isolate = context.engine.createIsolate({
      memoryMb: spec.limits.memoryMb,
      wasm: Object.keys(spec.bundle.modules).some((name) => name.endsWith('.wasm')) || spec.bundle.code.includes('WebAssembly'),
      onCatastrophicError: (message) => {
        context.tainted(`${spec.name}: ${message}`)
        this.#end({ code: 'memory_exceeded', message: `V8 ran out of memory (${message})`, notBegun: [] })
      },
    })
    this.ready = this.#start()
    // Whoever made it awaits `ready`; a rejection before that is no fault of the process.
    this.ready.catch(() => {})
  }

  dispatch(batch: Batch): void {
    if (this.#state === 'ready') this.#submit(batch)
  }

  dispose(): void {
    if (this.#state === 'ended') return
    this.#state = 'ended'
    this.#close()
  }

  async #start(): Promise<StartReport> {
    const { bundle, env, limits } = this.#spec
    this.#isolate.connect((batch) => this.#receive(batch), {
      env,
      seed: new Uint8Array(randomBytes(32)),
      now: Date.now(),
      logBytes: limits.logBytes,
    })
    const started = new Promise<{ problem: string; stack: string; handlers: string[] }>((resolve) => {
      this.#started = (problem, stack, handlers) => resolve({ problem, stack, handlers })
    })
    this.#running = true
    const outcome = await this.#isolate.start({ ...bundle, filename: FILENAME }, limits.startMs)
    this.#running = false
    if (outcome.kind !== 'ok') throw this.#refuse(whyNotStarted(outcome, limits), outcome.kind === 'threw' ? outcome.stack : '')
    if (this.#inbox.length > 0) this.#schedule()
    const answer = await withTimeout(started, limits.wallMs)
    if (answer === undefined) throw this.#refuse(`Its top-level await did not settle within ${limits.wallMs} ms.`, '')
    if (answer.problem !== '') throw this.#refuse(answer.problem, answer.stack)
    if ((this.#state as string) === 'ended') throw this.#refuse('It was ended while it started.', '')
    this.#state = 'ready'
    this.#cpuMs = this.#isolate.cpuMs
    return { cpuMs: this.#cpuMs, handlers: answer.handlers }
  }

  #refuse(message: string, stack: string): SkepError {
    this.dispose()
    const mapped = this.#mapStack(stack)
    return new SkepError('start_failed', `${this.#spec.name} does not start. ${message}`, { details: { stack: mapped } })
  }

  #submit(batch: Batch): void {
    if (this.#state === 'ended') return
    for (let i = 0; i < batch.length; i++) {
      const field = batch[i]!
      this.#inbox.push(field instanceof Uint8Array ? ownBytes(field) : field)
    }
    this.#schedule()
  }

  /** Enters in a microtask, so that what is submitted in one go enters together. */
  #schedule(): void {
    if (this.#running || this.#scheduled) return
    this.#scheduled = true
    queueMicrotask(() => {
      this.#scheduled = false
      void this.#enter()
    })
  }

  async #enter(): Promise<void> {
    if (this.#running || this.#state === 'ended') return
    this.#running = true
    while (this.#inbox.length > 0) {
      const batch = this.#inbox
      this.#inbox = []
      // The limit is of CPU time and this one of wall time: on a busy machine they differ, and nobody should pay for that.
      const outcome = await this.#isolate.dispatch(Date.now(), batch, 2 * this.#spec.limits.cpuMs + 20)
      if ((this.#state as string) === 'ended') return
      if (outcome.kind === 'threw') this.#logUnhandled(outcome.stack)
      else if (outcome.kind !== 'ok') {
        this.#end(this.#failureOf(outcome, batch))
        return
      }
    }
    this.#running = false
    if (this.#state === 'ready') this.#report()
  }

  #report(): void {
    const now = performance.now()
    if (now - this.#memoryReadAt > MEMORY_INTERVAL) {
      this.#memoryReadAt = now
      this.#memoryBytes = this.#isolate.memoryBytes()
    }
    const cpuMs = this.#isolate.cpuMs
    const used = Math.max(0, cpuMs - this.#cpuMs)
    this.#cpuMs = Math.max(cpuMs, this.#cpuMs)
    this.#observer.settled({ cpuMs: used, memoryBytes: this.#memoryBytes })
  }

  /** From the guest, by way of the prelude, which tenant code may have got hold of. */
  #receive(batch: Batch): void {
    if (this.#state === 'ended') return
    const problem = checkBatch(batch)
    if (problem !== '') {
      this.#end({ code: 'internal', message: `The guest broke the protocol: ${problem}`, notBegun: [] })
      return
    }
    const events = sortOut(batch, (all, at) => this.#receiveOther(all, at))
    if (events.length === 0) return
    this.#readEvents(events)
    this.#observer.emit(events)
  }

  #receiveOther(batch: Batch, at: number): void {
    const type = batch[at] as number
    if (type === Emit.timer || type === Emit.timerCancel) this.#timers.handle(batch, at)
    else if (type === Emit.started) this.#started?.(batch[at + 1] as string, batch[at + 2] as string, batch[at + 3] as string[])
    else this.#operations.handle(batch, at)
  }

  /** Stacks name the author's own lines from here on; ended events free what they counted. */
  #readEvents(batch: Batch): void {
    for (let at = 0; at < batch.length; ) {
      const type = batch[at] as number
      if (type === Emit.failed) batch[at + 4] = this.#mapStack(batch[at + 4] as string)
      else if (type === Emit.log && batch[at + 2] === 'error') batch[at + 3] = this.#mapStack(batch[at + 3] as string)
      else if (type === Emit.done) this.#operations.eventEnded(batch[at + 1] as number)
      at += EMIT_FIELDS[type]! + 1
    }
  }

  #logUnhandled(stack: string): void {
    this.#observer.emit([Emit.log, 0, 'error', `Unhandled rejection: ${this.#mapStack(stack)}`])
  }

  #failureOf(outcome: RunOutcome, batch: Batch): SandboxFailure {
    const { cpuMs, memoryMb } = this.#spec.limits
    const begun = outcome.kind === 'timeout' ? this.#isolate.begun() : undefined
    const ids = eventsOf(batch)
    const notBegun = begun === undefined ? [] : ids.slice(begun)
    if (outcome.kind === 'timeout') return { code: 'cpu_exceeded', message: `It used more than ${cpuMs} ms of CPU time`, notBegun }
    return { code: 'memory_exceeded', message: `It used more than ${memoryMb} MB of memory`, notBegun }
  }

  #end(failure: SandboxFailure): void {
    if (this.#state === 'ended') return
    const waiting = eventsOf(this.#inbox)
    this.#state = 'ended'
    this.#close()
    this.#observer.ended({ ...failure, notBegun: [...failure.notBegun, ...waiting] })
  }

  #close(): void {
    this.#context.live.delete(this)
    this.#inbox = []
    this.#operations.close()
    this.#timers.close()
    this.#isolate.dispose()
  }
}

function eventsOf(batch: Batch): number[] {
  const ids: number[] = []
  for (let at = 0; at < batch.length; at += SUBMIT_FIELDS[batch[at] as number]! + 1) {
    if (batch[at] === Submit.fetch || batch[at] === Submit.scheduled) ids.push(batch[at + 1] as number)
  }
  return ids
}

function whyNotStarted(outcome: RunOutcome, limits: { startMs: number; memoryMb: number }): string {
  switch (outcome.kind) {
    case 'timeout':
      return `Its top level used more than ${limits.startMs} ms. Do less there, or do it in the handler.`
    case 'memory':
      return `Its top level used more than ${limits.memoryMb} MB of memory.`
    case 'threw':
      return `Its top level threw: ${outcome.message}`
    default:
      return 'It was ended while it started.'
  }
}

async function withTimeout<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, ms, undefined)
  })
  const result = await Promise.race([promise, late])
  clearTimeout(timer)
  return result
}
