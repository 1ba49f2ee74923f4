import { randomBytes } from 'node:crypto'
import { performance } from 'node:perf_hooks'
import { createStackMapper } from '../bundler/source-map.ts'
import { SkepError } from '../host/errors.ts'
import { Budget } from './budget.ts'
import { ownBytes } from './bytes.ts'
import { checkBatch, sortOut } from './emissions.ts'
import type { Engine, EngineIsolate, RunOutcome } from './engine.ts'
import type { Lanes, Pass } from './lanes.ts'
import type { EgressRules } from './operations/egress.ts'
import { Operations } from './operations/operations.ts'
import { EMIT_FIELDS, Emit, Submit, SUBMIT_FIELDS } from './protocol.ts'
import type { Batch } from './protocol.ts'
import type { Sandbox, SandboxFailure, SandboxObserver, SandboxSpec, StartReport, Taint } from './sandbox.ts'
import { Timers } from './timers.ts'

const FILENAME = 'file:///bundle.js'

const MEGABYTE = 1_048_576

/** Between two looks at the heap of a sandbox, ms: a look costs some microseconds. */
const MEMORY_INTERVAL = 100

/** CPU time beyond its limit, ms, after which a run that V8 was told to stop counts as one that cannot be stopped. */
const STOP_GRACE = 1_000

/** Wall time for sending what is ready, ms, after a run was stopped. */
const FLUSH_MS = 20

export interface IsolateContext {
  engine: Engine
  egress: EgressRules
  lanes: Lanes
  /** This process holds an isolate that V8 lost control of, and should be replaced. */
  tainted: (taint: Taint) => void
  /** Every sandbox that has not ended. */
  live: Set<Sandbox>
}

/** Why a sandbox did not start: a message and the stack of what was thrown, or ''. */
interface Refusal {
  message: string
  stack: string
}

type Started = { refusal: Refusal } | { handlers: string[] }

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
  readonly #budget: Budget
  readonly #pass: Pass
  readonly #mapStack: (stack: string) => string
  #inbox: Batch = []
  /** The inbox holds what the host dispatched, and not only timers and completions, which wait for a live event. */
  #dispatched = false
  #running = false
  #scheduled = false
  /** There are byte arrays in the inbox. */
  #chunks = false
  #cpuMs = 0
  /** Of what has run since the last report. */
  #unreportedMs = 0
  /** How long what was dispatched since the last report has waited for a place among the running isolates. */
  #waitedMs = 0
  /** When the entry that goes on began, on performance.now's clock. */
  #enteredAt = 0
  #memoryBytes = 0
  #memoryReadAt = 0
  #watchdog: NodeJS.Timeout | undefined
  /** While it loads: the guest's word that it has started, or (a refusal) that it never will. */
  #started!: (answer: Started) => void

  constructor(context: IsolateContext, spec: SandboxSpec, observer: SandboxObserver) {
    this.#context = context
    this.#spec = spec
    this.#observer = observer
    this.#mapStack = createStackMapper(spec.bundle.sourceMap, FILENAME)
    const submit = (batch: Batch) => this.#submit(batch)
    this.#operations = new Operations(spec.limits, context.egress, submit)
    this.#timers = new Timers(spec.limits.timers, submit)
    this.#budget = new Budget(spec.limits)
    this.#isolate = context.engine.createIsolate({
      memoryMb: spec.limits.memoryMb,
      onCatastrophicError: (message) => {
        this.#taint('catastrophic', message)
        this.#end({ code: 'memory_exceeded', message: `V8 ran out of memory (${message})`, notBegun: [] })
      },
    })
    this.#pass = context.lanes.pass(spec)
    context.live.add(this)
    this.ready = this.#start()
    // Whoever made it awaits `ready`; a rejection before that is no fault of the process.
    this.ready.catch(() => {})
  }

  dispatch(batch: Batch): void {
    if (this.#state !== 'ready') return
    const now = performance.now()
    for (const event of eventsOf(batch)) this.#budget.begin(event, now)
    this.#operations.setLive(this.#budget.live)
    this.#dispatched = true
    this.#submit(batch)
  }

  dispose(): void {
    if (this.#state === 'ended') return
    this.#close()
    this.#started({ refusal: { message: 'It was ended while it started.', stack: '' } })
  }

  async #start(): Promise<StartReport> {
    const { env, limits } = this.#spec
    const answer = new Promise<Started>((resolve) => {
      this.#started = resolve
    })
    this.#isolate.connect((batch) => this.#receive(batch), {
      env,
      seed: new Uint8Array(randomBytes(32)),
      now: Date.now(),
      logBytes: limits.logBytes,
      memoryBytes: limits.memoryMb * MEGABYTE,
      timers: limits.timers,
    })
    const late = setTimeout(() => this.#refuse(`Its top-level await did not settle within ${limits.wallMs} ms.`), limits.wallMs)
    void this.#evaluate()
    // Not the end of the evaluation: that of an isolate which V8 has lost control of never comes.
    const started = await answer
    clearTimeout(late)
    if ('refusal' in started) {
      this.#close(this.#isolate.cpuMs)
      const { message, stack } = started.refusal
      throw new SkepError('start_failed', `${this.#spec.name} does not start. ${message}`, {
        details: { stack: this.#mapStack(stack) },
      })
    }
    this.#cpuMs = this.#isolate.cpuMs
    this.#state = 'ready'
    return { cpuMs: this.#cpuMs, handlers: started.handlers }
  }

  async #evaluate(): Promise<void> {
    const { bundle, limits } = this.#spec
    this.#running = true
    await this.#pass.enter(true)
    if (this.#state === 'ended') return
    this.#watch(limits.startMs)
    const outcome = await this.#isolate.start({ ...bundle, filename: FILENAME }, limits.startMs)
    clearTimeout(this.#watchdog)
    this.#running = false
    if ((this.#state as string) === 'ended') return
    this.#cpuMs = this.#isolate.cpuMs
    this.#pass.leave(this.#cpuMs)
    if (outcome.kind === 'ok') this.#schedule()
    else this.#refuse(whyNotStarted(outcome, limits), outcome.kind === 'threw' ? outcome.stack : '')
  }

  #refuse(message: string, stack = ''): void {
    if (this.#state === 'loading') this.#started({ refusal: { message, stack } })
  }

  #submit(batch: Batch): void {
    if (this.#state === 'ended') return
    for (let i = 0; i < batch.length; i++) {
      const field = batch[i]!
      if (field instanceof Uint8Array) {
        this.#inbox.push(ownBytes(field))
        this.#chunks = true
        this.#budget.carried(field.byteLength)
      } else this.#inbox.push(field)
    }
    this.#schedule()
  }

  get #mayEnter(): boolean {
    if (this.#inbox.length === 0 || this.#state === 'ended') return false
    return this.#dispatched || this.#state === 'loading' || this.#budget.isOpen(performance.now())
  }

  /**
   * The chunks of a batch have been copied in. V8 looks for garbage by the growth of its own heap, of which their bytes are
   * no part: a fast body would leave tens of megabytes of them behind.
   */
  #freeChunks(batch: Batch): void {
    this.#chunks = false
    for (let at = 0; at < batch.length; at += SUBMIT_FIELDS[batch[at] as number]! + 1) {
      const type = batch[at]
      if (type === Submit.bodyChunk || type === Submit.operationChunk)
        ((batch[at + 2] as Uint8Array).buffer as ArrayBuffer).transfer(0)
    }
  }

  /** Enters in a microtask, so that what is submitted in one go enters together. */
  #schedule(): void {
    if (this.#running || this.#scheduled || !this.#mayEnter) return
    this.#scheduled = true
    queueMicrotask(() => {
      this.#scheduled = false
      void this.#enter()
    })
  }

  async #enter(): Promise<void> {
    if (this.#running) return
    this.#running = true
    while (this.#mayEnter) {
      const turn = this.#pass.enter(this.#state === 'loading')
      if (turn !== undefined) {
        await this.#waitFor(turn)
        if ((this.#state as string) === 'ended') return
        if (!this.#mayEnter) {
          this.#pass.leave(0)
          break
        }
      }
      const batch = this.#inbox
      this.#inbox = []
      this.#dispatched = false
      const { cpuMs, startMs } = this.#spec.limits
      // The limit is of CPU time and this one of wall time: on a busy machine they differ, and nobody should pay for that.
      const timeoutMs = 2 * (this.#state === 'loading' ? startMs : cpuMs) + 20
      this.#watch(timeoutMs)
      this.#enteredAt = performance.now()
      const entering = this.#isolate.dispatch(Date.now(), batch, timeoutMs)
      if (this.#chunks) this.#freeChunks(batch)
      const outcome = await entering
      clearTimeout(this.#watchdog)
      if ((this.#state as string) === 'ended') return
      if (outcome.kind === 'threw') this.#logUnhandled(outcome.stack)
      else if (outcome.kind !== 'ok') {
        const failure = await this.#failureOf(outcome, batch)
        this.#end(failure)
        return
      }
      if (!this.#pay()) {
        const limit = this.#state === 'loading' ? startMs : cpuMs
        this.#end({ code: 'cpu_exceeded', message: `It used more than ${limit} ms of CPU time`, notBegun: [] })
        return
      }
    }
    this.#running = false
    if (this.#state === 'ready') this.#report()
  }

  /** False when the entry that has just ended is one too many. */
  #pay(): boolean {
    const cpuMs = this.#isolate.cpuMs
    const used = Math.max(0, cpuMs - this.#cpuMs)
    this.#cpuMs += used
    if (this.#state !== 'loading') this.#unreportedMs += used
    const isPaid = this.#state === 'loading' ? this.#cpuMs <= this.#spec.limits.startMs : this.#budget.spend(used)
    if (isPaid) this.#pass.leave(used)
    return isPaid
  }

  async #waitFor(turn: Promise<void>): Promise<void> {
    const began = performance.now()
    await turn
    if (this.#dispatched) this.#waitedMs += performance.now() - began
  }

  #report(): void {
    const now = performance.now()
    if (now - this.#memoryReadAt > MEMORY_INTERVAL) {
      this.#memoryReadAt = now
      this.#memoryBytes = this.#isolate.memoryBytes()
    }
    const cpuMs = this.#unreportedMs
    const waitedMs = this.#waitedMs
    this.#unreportedMs = 0
    this.#waitedMs = 0
    this.#observer.settled({ cpuMs, memoryBytes: this.#memoryBytes, waitedMs })
  }

  /** Some builtins never look whether they should stop (BigInt arithmetic, sorting typed arrays): such a thread is lost. */
  #watch(limitMs: number): void {
    const before = this.#cpuMs
    const look = () => {
      const used = this.#isolate.cpuMs - before
      if (used < limitMs + STOP_GRACE) {
        // It waits for a thread.
        this.#watchdog = setTimeout(look, STOP_GRACE)
        return
      }
      const message = `It could not be stopped after ${Math.round(used)} ms of CPU time`
      this.#taint('unstoppable', message)
      this.#end({ code: 'cpu_exceeded', message, notBegun: [] })
    }
    this.#watchdog = setTimeout(look, limitMs + STOP_GRACE)
  }

  #taint(kind: Taint['kind'], message: string): void {
    const { name, version } = this.#spec
    this.#context.tainted({ name, version, kind, message })
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
    this.#emit(events)
  }

  #receiveOther(batch: Batch, at: number): void {
    const type = batch[at] as number
    if (type === Emit.timer || type === Emit.timerCancel) this.#timers.handle(batch, at)
    else if (type !== Emit.started) this.#operations.handle(batch, at)
    else if (this.#state === 'loading') {
      const [message, stack, handlers] = [batch[at + 1] as string, batch[at + 2] as string, batch[at + 3] as string[]]
      this.#started(message === '' ? { handlers } : { refusal: { message, stack } })
    }
  }

  /** Stacks name the author's own lines from here on; ended events free what they counted. */
  #emit(events: Batch): void {
    if (events.length === 0) return
    for (let at = 0; at < events.length; at += EMIT_FIELDS[events[at] as number]! + 1) {
      const type = events[at] as number
      if (type === Emit.failed) events[at + 4] = this.#mapStack(events[at + 4] as string)
      else if (type === Emit.log && events[at + 2] === 'error') events[at + 3] = this.#mapStack(events[at + 3] as string)
      else if (type === Emit.chunk) this.#budget.carried((events[at + 2] as Uint8Array).byteLength)
      else if (type === Emit.done) {
        this.#budget.end(events[at + 1] as number)
        this.#operations.eventEnded(events[at + 1] as number, this.#budget.live)
      }
    }
    this.#observer.emit(events)
  }

  #logUnhandled(stack: string): void {
    this.#observer.emit([Emit.log, 0, 'error', `Unhandled rejection: ${this.#mapStack(stack)}`])
  }

  async #failureOf(outcome: RunOutcome, batch: Batch): Promise<SandboxFailure> {
    const { startMs, cpuMs, memoryMb } = this.#spec.limits
    if (outcome.kind !== 'timeout')
      return { code: 'memory_exceeded', message: `It used more than ${memoryMb} MB of memory`, notBegun: [] }
    const message = `It used more than ${this.#state === 'loading' ? startMs : cpuMs} ms of CPU time`
    // Batch-mates that had answered before the one that was stopped are not to suffer.
    await this.#isolate.flush(FLUSH_MS)
    return { code: 'cpu_exceeded', message, notBegun: eventsOf(batch).slice(Math.max(0, this.#isolate.begun)) }
  }

  #end(failure: SandboxFailure): void {
    if (this.#state === 'ended') return
    if (this.#state === 'loading') {
      this.#refuse(`${failure.message}.`)
      return
    }
    const waiting = eventsOf(this.#inbox)
    const cpuMs = this.#unreportedMs + this.#unpaidMs()
    this.#close(cpuMs)
    this.#observer.ended({ ...failure, notBegun: [...failure.notBegun, ...waiting], cpuMs })
  }

  /** CPU time of an entry that was cut short. V8's own clock of an isolate goes when V8 disposes of it: then the wall's. */
  #unpaidMs(): number {
    const cpuMs = this.#isolate.cpuMs
    if (cpuMs > 0) return Math.max(0, cpuMs - this.#cpuMs)
    return this.#running ? performance.now() - this.#enteredAt : 0
  }

  #close(cpuMs = 0): void {
    this.#state = 'ended'
    this.#pass.close(cpuMs)
    this.#context.live.delete(this)
    this.#inbox = []
    clearTimeout(this.#watchdog)
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
