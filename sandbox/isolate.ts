import { randomBytes } from 'node:crypto'
import { performance } from 'node:perf_hooks'
import { createStackMapper } from '../bundler/source-map.ts'
import { SkepError } from '../host/errors.ts'
import { checkBatch, sortOut } from './emissions.ts'
import type { Engine, EngineIsolate, RunOutcome } from './engine.ts'
import { eventsOf, Inbox } from './inbox.ts'
import type { Lanes, Pass } from './lanes.ts'
import type { Breach, LimitEnforcer } from './limit-enforcer.ts'
import type { Limits } from './limits.ts'
import type { Network } from './operations/network.ts'
import { Operations } from './operations/operations.ts'
import { EMIT_FIELDS, Emit } from './protocol.ts'
import type { Batch } from './protocol.ts'
import { whyNotStarted } from './refusal.ts'
import type { Refusal } from './refusal.ts'
import type { Sandbox, SandboxFailure, SandboxObserver, SandboxSpec, StartReport, Taint } from './sandbox.ts'
import { Timers } from './timers.ts'

const FILENAME = 'file:///bundle.js'

const MEGABYTE = 1_048_576

/** Wall time, ms, within which code that V8 can stop does stop once its isolate is disposed of, on a busy machine as well. */
const REST_MS = 2_000

/** Wall time for sending what is ready, ms, after a run was stopped. */
const FLUSH_MS = 20

/** Wall time for looking for garbage, ms: V8 does not stop in the midst of it, but the guest's side is the tenant's neighbour. */
const COLLECT_MS = 4_000

export interface IsolateContext {
  engine: Pick<Engine, 'createIsolate'>
  network: Network
  lanes: Lanes
  /** This process holds an isolate that V8 lost control of, and should be replaced. */
  tainted: (taint: Taint) => void
  createLimits: (limits: Limits) => LimitEnforcer
  /** Every sandbox that has not ended. */
  live: Set<Sandbox>
}

/** isolated-vm's words for code that did not stop within 5 s of being told to. */
const CANNOT_STOP = 'Script failed to terminate'

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
  readonly #limits: LimitEnforcer
  readonly #pass: Pass
  readonly #mapStack: (stack: string) => string
  readonly #inbox = new Inbox()
  /** The inbox holds what the host dispatched, and not only timers and completions, which wait for a live event. */
  #dispatched = false
  #running = false
  #scheduled = false
  /** The batch that is inside, until the entry has ended by itself. */
  #entered: Batch = []
  /** How long what was dispatched since the last report has waited for a place among the running isolates. */
  #waitedMs = 0
  #watchdog: NodeJS.Timeout | undefined
  #tainted = false
  /** The guest's word that it has started: it counts once the entry in which it was said has ended within the limits. */
  #handlers: string[] | undefined
  /** While it loads: that it has started, or (a refusal) that it never will. */
  #started!: (answer: Started) => void

  constructor(context: IsolateContext, spec: SandboxSpec, observer: SandboxObserver) {
    this.#context = context
    this.#spec = spec
    this.#observer = observer
    this.#mapStack = createStackMapper(spec.bundle.sourceMap, FILENAME)
    const submit = (batch: Batch) => this.#submit(batch)
    this.#timers = new Timers(spec.limits.timers, submit)
    this.#limits = context.createLimits(spec.limits)
    this.#operations = new Operations({
      limits: spec.limits,
      network: context.network.enter(spec.tenant, spec.egress),
      loopId: spec.loopId,
      submit,
      isLive: (event) => this.#limits.isLive(event),
    })
    this.#isolate = context.engine.createIsolate({
      heapMb: this.#limits.heapMb,
      onCatastrophicError: (message) => this.#lost(message),
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
    for (const event of eventsOf(batch)) this.#limits.eventBegan(event, now)
    this.#operations.dispatched(batch, this.#limits.live)
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
    this.#state = 'ready'
    return { cpuMs: this.#limits.started(), handlers: started.handlers }
  }

  async #evaluate(): Promise<void> {
    const { bundle } = this.#spec
    this.#running = true
    await this.#pass.enter(true)
    if (this.#state === 'ended') return
    this.#limits.starting(this.#isolate.cpuMs)
    const timeoutMs = this.#limits.enter(performance.now())
    this.#watch(timeoutMs)
    const outcome = await this.#isolate.start({ ...bundle, filename: FILENAME }, timeoutMs)
    clearTimeout(this.#watchdog)
    if ((this.#state as string) === 'ended') return
    const refusal = await this.#whyNotStarted(outcome)
    this.#pass.leave(this.#limits.entryMs)
    this.#running = false
    if (refusal !== '') this.#refuse(refusal, outcome.kind === 'threw' ? outcome.stack : '')
    else if (this.#handlers !== undefined) this.#started({ handlers: this.#handlers })
    else this.#schedule()
  }

  async #whyNotStarted(outcome: RunOutcome): Promise<string> {
    const { limits } = this.#spec
    if (outcome.kind !== 'ok') return whyNotStarted(outcome, limits)
    const breach = this.#leave(performance.now()) ?? (await this.#readMemory())
    return breach === undefined ? '' : whyNotStarted({ kind: breach.code === 'cpu_exceeded' ? 'timeout' : 'memory' }, limits)
  }

  #refuse(message: string, stack = ''): void {
    if (this.#state === 'loading') this.#started({ refusal: { message, stack } })
  }

  #submit(batch: Batch): void {
    if (this.#state === 'ended') return
    const carried = this.#inbox.push(batch)
    if (carried > 0) this.#limits.carried(carried)
    this.#schedule()
  }

  get #mayEnter(): boolean {
    if (this.#inbox.isEmpty || this.#state === 'ended') return false
    return this.#dispatched || this.#limits.isOpen(performance.now())
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
    try {
      while (this.#mayEnter) if (!(await this.#enterOnce())) return
    } catch (error) {
      this.#end('internal', `The host's side of it failed: ${String((error as Error).stack)}`)
      return
    }
    this.#running = false
    if (this.#state === 'ready') this.#report()
  }

  #report(): void {
    const report = this.#limits.report()
    report.waitedMs = this.#waitedMs
    this.#waitedMs = 0
    this.#observer.settled(report)
  }

  async #waitFor(turn: Promise<void>): Promise<void> {
    const began = performance.now()
    await turn
    if (this.#dispatched) this.#waitedMs += performance.now() - began
  }

  /** False when the sandbox has ended. */
  async #enterOnce(): Promise<boolean> {
    const turn = this.#pass.enter(this.#state === 'loading')
    if (turn !== undefined) {
      await this.#waitFor(turn)
      if (this.#state === 'ended') return false
      if (!this.#mayEnter) {
        this.#pass.leave(0)
        return true
      }
    }
    const batch = this.#inbox.take()
    this.#dispatched = false
    this.#entered = batch
    const timeoutMs = this.#limits.enter(performance.now())
    this.#watch(timeoutMs)
    const entering = this.#isolate.dispatch(Date.now(), batch, timeoutMs)
    this.#inbox.freeChunks(batch)
    const outcome = await entering
    clearTimeout(this.#watchdog)
    if (this.#state === 'ended') return false
    if (outcome.kind === 'threw') this.#logUnhandled(outcome.stack)
    else if (outcome.kind !== 'ok') {
      // Batch-mates that had answered before the one that was stopped are not to suffer.
      if (outcome.kind === 'timeout') await this.#enterForHost(FLUSH_MS, () => this.#isolate.flush(FLUSH_MS))
      this.#breached(this.#limits.stopped(outcome.kind === 'timeout' ? 'timeout' : 'memory'))
      return false
    }
    this.#entered = []
    const now = performance.now()
    const breach = this.#leave(now) ?? (this.#limits.wantsMemory(now) ? await this.#readMemory() : undefined)
    if (breach === undefined) this.#pass.leave(this.#limits.entryMs)
    if (breach !== undefined) this.#breached(breach)
    else if (this.#state === 'loading' && this.#handlers !== undefined) this.#started({ handlers: this.#handlers })
    return (this.#state as string) !== 'ended'
  }

  #leave(now: number): Breach | undefined {
    if (this.#limits.leave(this.#isolate.cpuMs, now)) return undefined
    return this.#limits.leaveExactly(this.#isolate.restedCpuMs(), now)
  }

  /** With the isolate at rest. What it has passed, where it is to end. */
  async #readMemory(): Promise<Breach | undefined> {
    let verdict = this.#limits.memory(this.#isolate.memoryBytes(), performance.now(), false)
    if (verdict === 'collect') {
      const outcome = await this.#enterForHost(COLLECT_MS, () => this.#isolate.collect(COLLECT_MS))
      if (this.#state === 'ended') return undefined
      if (outcome.kind === 'memory' || outcome.kind === 'disposed') return this.#limits.stopped('memory')
      this.#limits.collected(this.#isolate.cpuMs)
      verdict = this.#limits.memory(this.#isolate.memoryBytes(), performance.now(), true)
    }
    if (typeof verdict === 'object') return verdict
    if (verdict === 'retire') this.#observer.retire?.()
    return undefined
  }

  /** Some builtins never look whether they should stop (BigInt arithmetic, sorting typed arrays): such a thread is lost. */
  #watch(timeoutMs: number): void {
    const look = () => {
      const verdict = this.#limits.watch(this.#isolate.cpuMs, performance.now())
      if (typeof verdict === 'number') {
        this.#watchdog = setTimeout(look, verdict)
        return
      }
      // To dispose of an isolate also stops code that runs after its entry, for the host's sake, where no limit reaches.
      this.#breached(verdict)
      void this.#isolate.comesToRest(REST_MS).then((rests) => rests || this.#taint('unstoppable', verdict.message))
    }
    this.#watchdog = setTimeout(look, this.#limits.watchIn(timeoutMs))
  }

  /** V8 may lose the isolate in these as well: looking for garbage takes memory, and the tenant's microtasks come first. */
  async #enterForHost<T>(wallMs: number, run: () => Promise<T>): Promise<T> {
    this.#limits.enterForHost(performance.now(), wallMs)
    this.#watch(wallMs)
    const outcome = await run()
    clearTimeout(this.#watchdog)
    return outcome
  }

  /** V8 has given the isolate up: out of memory where it cannot throw, or not to be stopped. */
  #lost(message: string): void {
    const unstoppable = message === CANNOT_STOP
    this.#taint(unstoppable ? 'unstoppable' : 'catastrophic', message)
    if (unstoppable) this.#end('cpu_exceeded', 'Its code could not be stopped')
    else this.#end('memory_exceeded', `V8 ran out of memory (${message})`)
  }

  #taint(kind: Taint['kind'], message: string): void {
    if (this.#tainted) return
    this.#tainted = true
    const { name, version } = this.#spec
    this.#context.tainted({ name, version, kind, message })
  }

  /** From the guest, by way of the prelude, which tenant code may have got hold of. */
  #receive(batch: Batch): void {
    if (this.#state === 'ended') return
    const problem = checkBatch(batch)
    if (problem !== '') {
      this.#end('bad_guest', `The guest broke the protocol: ${problem}`)
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
      if (batch[at + 1] !== '') this.#refuse(batch[at + 1] as string, batch[at + 2] as string)
      else this.#handlers ??= batch[at + 3] as string[]
    }
  }

  /** Stacks name the author's own lines from here on; ended events free what they counted. */
  #emit(events: Batch): void {
    if (events.length === 0) return
    for (let at = 0; at < events.length; at += EMIT_FIELDS[events[at] as number]! + 1) {
      const type = events[at] as number
      if (type === Emit.failed) events[at + 4] = this.#mapStack(events[at + 4] as string)
      else if (type === Emit.log && events[at + 2] === 'error') events[at + 3] = this.#mapStack(events[at + 3] as string)
      else if (type === Emit.chunk) this.#limits.carried((events[at + 2] as Uint8Array | string).length)
      else if (type === Emit.done) {
        this.#limits.eventEnded(events[at + 1] as number)
        this.#operations.eventEnded(events[at + 1] as number, this.#limits.live)
      }
    }
    this.#observer.emit(events)
  }

  #logUnhandled(stack: string): void {
    this.#observer.emit([Emit.log, 0, 'error', `Unhandled rejection: ${this.#mapStack(stack)}`])
  }

  #breached({ code, message }: Breach): void {
    this.#end(code, message)
  }

  #end(code: SandboxFailure['code'], message: string): void {
    if (this.#state === 'ended') return
    if (this.#state === 'loading') {
      this.#refuse(`${message}.`)
      return
    }
    const [entered, waiting] = [eventsOf(this.#entered), this.#inbox.clear()]
    const cpuMs = this.#limits.ended(this.#isolate.cpuMs, this.#entered.length > 0 ? performance.now() : -1)
    this.#close(cpuMs)
    // Only now: code that runs on until it is stopped may begin one more. The guest says how far it got; whatever it says,
    // none but events of this batch are named, and those that were heard of are run nowhere else.
    const notBegun = entered.slice(Math.max(0, this.#isolate.begun))
    this.#observer.ended({ code, message, notBegun: [...notBegun, ...waiting], cpuMs })
  }

  #close(cpuMs = 0): void {
    this.#state = 'ended'
    this.#pass.close(cpuMs)
    this.#context.live.delete(this)
    this.#inbox.clear()
    this.#entered = []
    clearTimeout(this.#watchdog)
    this.#operations.close()
    this.#timers.close()
    this.#isolate.dispose()
  }
}
