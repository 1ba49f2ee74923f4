import { BodyKind, Emit, EMIT_FIELDS, INITIAL_CREDIT, Submit } from '../sandbox/protocol.ts'
import type { Batch } from '../sandbox/protocol.ts'
import type { Limits } from '../sandbox/limits.ts'
import type { RunReport, Sandbox, SandboxFactory, SandboxFailure, SandboxObserver, SandboxSpec } from '../sandbox/sandbox.ts'
import type { Admission } from './admission.ts'
import type { Call, CallRunner } from './call.ts'
import type { Clock } from './clock.ts'
import { deliver } from './deliver.ts'
import type { Delivery } from './deliver.ts'
import type { ErrorCode } from './errors.ts'
import { LogBudget } from './log-budget.ts'
import { Meter } from './meter.ts'
import type { FunctionUse } from './usage.ts'

/** A call is moved to a fresh isolate at most this often. */
const MOST_MOVES = 3

/** What an instance tells the pool. */
export interface InstanceObserver {
  /** It takes nothing new any more, and ends when what it has is done. */
  leaving(instance: Instance): void
  /** It has nothing in flight and may be evicted. */
  idle(instance: Instance): void
  /** Another one is to be loaded, and to take over from it once it is ready. */
  moving(instance: Instance): void
  /** It is gone: disposed of, or for this reason; these calls had not begun and want another. */
  ended(instance: Instance, failure: SandboxFailure | undefined, calls: Call[]): void
  log(instance: Instance, entry: FunctionLog): void
}

export interface FunctionLog {
  requestId: string
  level: 'debug' | 'info' | 'warn' | 'error'
  text: string
}

/**
 * A loaded function version and the calls that it runs: gives them to the sandbox in batches, routes what it emits to
 * their exchanges, and holds them to their limits.
 *
 *     loading ──▶ ready ──▶ draining ──▶ ended
 *        └──────────┴──────────────────────▲
 */
export class Instance implements SandboxObserver, CallRunner {
  state: 'loading' | 'ready' | 'draining' | 'ended' = 'loading'
  /** `tenant/function@version` */
  readonly key: string
  readonly spec: SandboxSpec
  readonly #limits: Limits
  /** At least one whole event, whatever the record says: half an event would be cut from the queue and run for ever. */
  readonly #concurrency: number
  readonly #observer: InstanceObserver
  readonly #clock: Clock
  readonly #sandbox: Sandbox
  readonly #logBudget: LogBudget
  readonly #meter: Meter
  readonly #delivery: Delivery = {
    giveUp: (call, code, message) => this.#giveUp(call, code, message),
    abort: (call, reason) => this.#sandbox.dispatch([Submit.abort, call.event, reason]),
    log: (event, level, text) => this.#log(event, level, text),
  }
  lastUsed: number
  /** Its process is to be replaced; set while it loads, it drains once it has run what waited for it. */
  retired = false
  /** Calls that wait for the next batch. */
  #queue: Call[] = []
  /** Calls in the sandbox by event; null: given up, but the guest has not said `done`. Event 0 is none. */
  readonly #live: (Call | null | undefined)[] = [undefined]
  readonly #freeEvents: number[] = []
  #inFlight = 0
  #abandoned = 0
  #scheduled = false
  #timer: object | undefined

  constructor(
    key: string,
    spec: SandboxSpec,
    use: FunctionUse,
    options: { factory: SandboxFactory; clock: Clock; admission: Admission },
    observer: InstanceObserver,
  ) {
    const { factory, clock } = options
    this.key = key
    this.spec = spec
    this.lastUsed = clock.now()
    this.#limits = spec.limits
    this.#concurrency = Math.max(1, Math.floor(spec.limits.concurrency))
    this.#clock = clock
    this.#observer = observer
    this.#logBudget = new LogBudget(spec.limits.logBytes, clock)
    this.#sandbox = factory.create(spec, this)
    this.#meter = new Meter(use, options.admission)
  }

  /** Rejects with `start_failed` or `worker_lost`. */
  async load(): Promise<void> {
    try {
      this.#meter.loaded((await this.#sandbox.ready).cpuMs)
    } catch (error) {
      this.#meter.close()
      throw error
    }
    if (this.state === 'loading') this.state = 'ready'
  }

  get isIdle(): boolean {
    return this.#inFlight === 0 && this.#queue.length === 0
  }

  get memoryBytes(): number {
    return this.#meter.memoryBytes
  }

  get inFlight(): number {
    return this.#inFlight
  }

  /** Takes a call; answers it with `overloaded` when as many wait as may be in flight. */
  accept(call: Call): void {
    this.lastUsed = call.startedAt
    if (this.#queue.length + this.#inFlight >= 2 * this.#concurrency) {
      this.#meter.refused()
      call.fail('overloaded')
      return
    }
    call.runner = this
    this.#queue.push(call)
    this.#schedule()
  }

  /** Takes nothing more, and ends when what it has is done. One that loads does so after it has run what waits for it. */
  drain(): void {
    if (this.state === 'loading') this.retired = true
    if (this.state === 'ready') {
      this.state = 'draining'
      this.#observer.leaving(this)
    }
    if (this.state === 'draining' && this.isIdle) this.dispose()
  }

  /** Ends it now. Whatever it still has is answered `draining`. */
  dispose(): void {
    if (this.state === 'ended') return
    this.state = 'ended'
    this.#clock.clearTimeout(this.#timer)
    this.#sandbox.dispose()
    this.#meter.close()
    for (const call of this.#everything()) {
      call.fail('draining')
      this.#meter.left(call)
    }
    this.#observer.ended(this, undefined, [])
  }

  // CallRunner: from the client's side.

  bodyChunk(call: Call, bytes: Uint8Array, last: boolean): void {
    if (!this.#owns(call)) return
    if (call.bodyReceived > this.#limits.bodyBytes) {
      call.exchange.discardBody()
      this.#giveUp(call, 'body_too_large', 'The request body is too large')
      return
    }
    call.bodyTaken += bytes.length
    // The sandbox frees what it is given; what may have to be given again is kept.
    if (bytes.length > 0) this.#sandbox.dispatch([Submit.bodyChunk, call.event, call.begun ? bytes : bytes.slice()])
    if (last) this.#sandbox.dispatch([Submit.bodyEnd, call.event])
  }

  bodyFailed(call: Call, reason: string): void {
    if (this.#owns(call)) this.#sandbox.dispatch([Submit.bodyFailed, call.event, reason])
  }

  credit(call: Call, bytes: number): void {
    if (this.#owns(call)) this.#sandbox.dispatch([Submit.credit, call.event, bytes])
  }

  gone(call: Call): void {
    if (this.#owns(call)) {
      this.#sandbox.dispatch([Submit.abort, call.event, 'The client went away'])
      return
    }
    this.#queue = this.#queue.filter((other) => other !== call)
    this.#rest()
  }

  // SandboxObserver: from the guest's side.

  emit(batch: Batch): void {
    for (let at = 0; at < batch.length; at += EMIT_FIELDS[batch[at] as number]! + 1) {
      const type = batch[at] as number
      if (type === Emit.log) {
        const text = batch[at + 3] as string
        const event = batch[at + 1] as number
        if (this.#logBudget.allows(this.#live[event], text.length)) this.#log(event, batch[at + 2] as string, text)
        continue
      }
      const event = batch[at + 1] as number
      if (type === Emit.done) {
        this.#done(event)
        continue
      }
      const call = this.#live[event]
      if (call === null || call === undefined) continue
      if (!call.begun) {
        call.begun = true
        call.body = []
      }
      deliver(call, batch, at, this.#delivery)
    }
  }

  settled(report: RunReport): void {
    this.#meter.settled(report)
    if (this.#queue.length > 0) this.#enter()
  }

  retire(): void {
    this.drain()
  }

  move(): void {
    if (this.state === 'ready') this.#observer.moving(this)
    else this.drain()
  }

  ended(failure: SandboxFailure): void {
    if (this.state === 'ended') return
    this.state = 'ended'
    this.#clock.clearTimeout(this.#timer)
    this.#meter.failed(failure)
    const again: Call[] = []
    for (const event of failure.notBegun) {
      const call = this.#live[event]
      // The guest says itself what it has not begun: one that was heard of has begun, whatever it says.
      if (call === null || call === undefined || call.phase !== 'running' || call.begun || call.moves >= MOST_MOVES) continue
      this.#live[event] = undefined
      again.push(call)
    }
    // The end of a lost process says nothing about the calls in it, save that they did not finish.
    for (const call of this.#live) {
      if (call === null || call === undefined) continue
      if (call.phase === 'running' || call.phase === 'answering')
        this.#log(call.event, 'error', `${failure.code}: ${failure.message}`)
      call.fail(answerOf(failure.code))
      this.#meter.left(call)
    }
    again.push(...this.#queue)
    this.#queue = []
    for (const call of again) call.move()
    this.#observer.ended(this, failure, again)
  }

  #schedule(): void {
    if (this.#scheduled || this.#meter.isRunning || this.state === 'loading') return
    this.#scheduled = true
    // After the sockets of this turn have been read, so that one entry serves them all.
    setImmediate(() => {
      this.#scheduled = false
      this.#enter()
    })
  }

  #enter(): void {
    if (this.state === 'ended') return
    const count = Math.min(this.#meter.batchSize, this.#queue.length, this.#concurrency - this.#inFlight)
    if (count <= 0) return
    const calls = this.#queue
    this.#queue = count === calls.length ? [] : calls.slice(count)
    const batch: Batch = []
    const entered: Call[] = []
    const now = this.#clock.now()
    for (let i = 0; i < count; i++) {
      const call = calls[i]!
      // One that failed while it waited has had its answer.
      if (call.phase !== 'waiting') continue
      this.#submit(call, now + this.#limits.wallMs, batch)
      entered.push(call)
    }
    if (batch.length === 0) {
      if (this.#queue.length > 0) this.#schedule()
      else this.#rest()
      return
    }
    this.#meter.entered(entered, now)
    this.#armTimer()
    this.#sandbox.dispatch(batch)
    // Now that the events are on their way, their bodies may follow them.
    for (const call of entered) this.#askForBody(call)
  }

  #submit(call: Call, deadline: number, batch: Batch): void {
    const event = this.#freeEvents.pop() ?? this.#live.length
    this.#live[event] = call
    this.#inFlight++
    call.event = event
    call.phase = 'running'
    call.deadline = deadline
    call.headerBytes = this.#limits.headerBytes
    const { method, url, headers, bodyLength } = call.exchange
    if (call.whole !== null) {
      batch.push(Submit.fetch, event, call.requestId, method, url, headers, BodyKind.whole, call.whole)
      return
    }
    const kind = bodyLength === 0 ? BodyKind.none : BodyKind.stream
    batch.push(Submit.fetch, event, call.requestId, method, url, headers, kind, null)
    // What came while it was moved, or was lost with the isolate that it was moved from.
    for (const bytes of call.body) batch.push(Submit.bodyChunk, event, bytes.slice())
    if (call.bodyEnded) batch.push(Submit.bodyEnd, event)
    call.bodyTaken = call.bodyReceived
  }

  #askForBody(call: Call): void {
    if (call.bodyAsked || call.whole !== null || call.exchange.bodyLength === 0 || call.phase !== 'running') return
    call.bodyAsked = true
    call.exchange.grant(INITIAL_CREDIT)
  }

  #done(event: number): void {
    const call = this.#live[event]
    if (call === undefined) return
    this.#live[event] = undefined
    this.#freeEvents.push(event)
    if (call === null) {
      this.#abandoned--
      return
    }
    // A guest that is done without having answered is broken; its client must not wait.
    if (call.phase === 'running' || call.phase === 'answering') call.fail('no_response')
    this.#release(call)
  }

  #release(call: Call): void {
    this.#inFlight--
    this.#meter.left(call)
    if (this.#queue.length > 0) this.#schedule()
    else this.#rest()
  }

  #rest(): void {
    if (!this.isIdle) return
    if (this.state === 'draining') this.dispose()
    else if (this.state === 'ready') this.#observer.idle(this)
  }

  #armTimer(): void {
    if (this.#timer !== undefined) return
    this.#timer = this.#clock.setTimeout(() => this.#expire(), this.#limits.wallMs)
  }

  /** Ends what has run for too long. The guest is told; the event's number stays taken until it says `done`. */
  #expire(): void {
    this.#timer = undefined
    const now = this.#clock.now()
    let next = Infinity
    for (const call of this.#live) {
      if (call === null || call === undefined) continue
      if (call.deadline <= now + 1) this.#giveUp(call, 'timeout', `The event took longer than ${this.#limits.wallMs} ms`)
      else next = Math.min(next, call.deadline)
    }
    if (next !== Infinity && this.state !== 'ended') this.#timer = this.#clock.setTimeout(() => this.#expire(), next - now)
  }

  #giveUp(call: Call, code: ErrorCode, message: string): void {
    const { event } = call
    if (call.phase === 'running' || call.phase === 'answering') this.#log(event, 'error', `${code}: ${message}`)
    call.fail(code)
    this.#sandbox.dispatch([Submit.abort, event, message])
    this.#live[event] = null
    this.#abandoned++
    // A guest that does not let go of its events is replaced, before they fill its memory.
    if (this.#abandoned > this.#concurrency) this.drain()
    this.#release(call)
  }

  #owns(call: Call): boolean {
    return call.event > 0 && this.#live[call.event] === call
  }

  *#everything(): Generator<Call> {
    yield* this.#queue
    for (const call of this.#live) if (call !== null && call !== undefined) yield call
  }

  #log(event: number, level: string, text: string): void {
    const requestId = this.#live[event]?.requestId ?? ''
    const known = level === 'debug' || level === 'info' || level === 'warn' || level === 'error' ? level : 'info'
    this.#observer.log(this, { requestId, level: known, text })
  }
}

/** Whoever breaks the protocol from within an isolate is its tenant. */
function answerOf(code: SandboxFailure['code']): ErrorCode {
  return code === 'bad_guest' ? 'function_threw' : code
}
