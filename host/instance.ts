import { BodyKind, Emit, EMIT_FIELDS, INITIAL_CREDIT, Submit } from '../sandbox/protocol.ts'
import type { Batch } from '../sandbox/protocol.ts'
import type { Limits } from '../sandbox/limits.ts'
import type { RunReport, Sandbox, SandboxFactory, SandboxFailure, SandboxObserver, SandboxSpec } from '../sandbox/sandbox.ts'
import type { Call, CallRunner } from './call.ts'
import type { ErrorCode } from './errors.ts'

/** A batch holds as many events as are expected to take this much CPU time together, ms; of an unknown function one. */
const BATCH_MS = 4
const LARGEST_BATCH = 256
/** A call is moved to a fresh isolate at most this often. */
const MOST_MOVES = 3

/** What an instance tells the pool. */
export interface InstanceObserver {
  /** It has nothing in flight and may be evicted. */
  idle(instance: Instance): void
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
  readonly #observer: InstanceObserver
  readonly #sandbox: Sandbox
  /** CPU time of evaluating the bundle, ms; 0 while it loads. */
  startCpuMs = 0
  cpuMs = 0
  memoryBytes = 0
  lastUsed = performance.now()
  /** Calls that wait for the next batch. */
  #queue: Call[] = []
  /** Calls in the sandbox by event; null: given up, but the guest has not said `done`. Event 0 is none. */
  readonly #live: (Call | null | undefined)[] = [undefined]
  readonly #freeEvents: number[] = []
  #inFlight = 0
  #abandoned = 0
  #entered = 0
  #scheduled = false
  /** Running mean of an event's CPU time, ms; -1 while it is not known. */
  #cost = -1
  #timer: NodeJS.Timeout | undefined

  constructor(key: string, spec: SandboxSpec, factory: SandboxFactory, observer: InstanceObserver) {
    this.key = key
    this.spec = spec
    this.#limits = spec.limits
    this.#observer = observer
    this.#sandbox = factory.create(spec, this)
  }

  /** Rejects with `start_failed` or `worker_lost`. */
  async load(): Promise<void> {
    const { cpuMs } = await this.#sandbox.ready
    this.startCpuMs = cpuMs
    if (this.state === 'loading') this.state = 'ready'
  }

  get isIdle(): boolean {
    return this.#inFlight === 0 && this.#queue.length === 0
  }

  get inFlight(): number {
    return this.#inFlight
  }

  /** Takes a call; answers it with `overloaded` when as many wait as may be in flight. */
  accept(call: Call): void {
    this.lastUsed = call.startedAt
    if (this.#queue.length + this.#inFlight >= 2 * this.#limits.concurrency) {
      call.fail('overloaded')
      return
    }
    call.runner = this
    this.#queue.push(call)
    this.#schedule()
  }

  /** Takes nothing more, and ends when what it has is done. */
  drain(): void {
    if (this.state === 'ended') return
    this.state = 'draining'
    if (this.isIdle) this.dispose()
  }

  /** Ends it now. Whatever it still has is answered `draining`. */
  dispose(): void {
    if (this.state === 'ended') return
    this.state = 'ended'
    clearTimeout(this.#timer)
    this.#sandbox.dispose()
    for (const call of this.#everything()) call.fail('draining')
    this.#observer.ended(this, undefined, [])
  }

  // CallRunner: from the client's side.

  bodyChunk(call: Call, bytes: Uint8Array, last: boolean): void {
    if (!this.#owns(call)) return
    call.bodyDelivered += bytes.length
    if (call.bodyDelivered > this.#limits.bodyBytes) {
      call.exchange.discardBody()
      this.#giveUp(call, 'body_too_large', 'The request body is too large')
      return
    }
    if (bytes.length > 0) this.#sandbox.dispatch([Submit.bodyChunk, call.event, bytes])
    if (last) this.#sandbox.dispatch([Submit.bodyEnd, call.event])
  }

  bodyFailed(call: Call, reason: string): void {
    if (this.#owns(call)) this.#sandbox.dispatch([Submit.bodyFailed, call.event, reason])
  }

  credit(call: Call, bytes: number): void {
    if (this.#owns(call)) this.#sandbox.dispatch([Submit.credit, call.event, bytes])
  }

  gone(call: Call): void {
    if (this.#owns(call)) this.#sandbox.dispatch([Submit.abort, call.event, 'The client went away'])
    else this.#queue = this.#queue.filter((other) => other !== call)
  }

  // SandboxObserver: from the guest's side.

  emit(batch: Batch): void {
    for (let at = 0; at < batch.length; at += EMIT_FIELDS[batch[at] as number]! + 1) {
      const type = batch[at] as number
      if (type === Emit.log) {
        this.#log(batch[at + 1] as number, batch[at + 2] as string, batch[at + 3] as string)
        continue
      }
      const event = batch[at + 1] as number
      if (type === Emit.done) {
        this.#done(event)
        continue
      }
      const call = this.#live[event]
      if (call !== null && call !== undefined) this.#emitTo(call, batch, at)
    }
  }

  settled(report: RunReport): void {
    this.cpuMs += report.cpuMs
    this.memoryBytes = report.memoryBytes
    if (this.#entered > 0) {
      const cost = report.cpuMs / this.#entered
      this.#cost = this.#cost < 0 ? cost : this.#cost * 0.8 + cost * 0.2
      this.#entered = 0
    }
    if (this.#queue.length > 0) this.#enter()
  }

  retire(): void {
    this.drain()
  }

  ended(failure: SandboxFailure): void {
    if (this.state === 'ended') return
    this.state = 'ended'
    clearTimeout(this.#timer)
    const again: Call[] = []
    for (const event of failure.notBegun) {
      const call = this.#live[event]
      if (call === null || call === undefined || call.bodyDelivered > 0 || call.moves >= MOST_MOVES) continue
      this.#live[event] = undefined
      again.push(call)
    }
    // The end of a lost process says nothing about the calls in it, save that they did not finish.
    for (const call of this.#live) {
      if (call === null || call === undefined) continue
      if (call.phase !== 'answered') this.#log(call.event, 'error', `${failure.code}: ${failure.message}`)
      call.fail(failure.code)
    }
    again.push(...this.#queue)
    this.#queue = []
    for (const call of again) {
      call.runner = undefined
      call.event = 0
      call.moves++
    }
    this.#observer.ended(this, failure, again)
  }

  #schedule(): void {
    if (this.#scheduled || this.#entered > 0 || this.state === 'loading') return
    this.#scheduled = true
    // After the sockets of this turn have been read, so that one entry serves them all.
    setImmediate(() => {
      this.#scheduled = false
      this.#enter()
    })
  }

  #enter(): void {
    if (this.state === 'ended') return
    const most = this.#cost < 0 ? 1 : Math.min(LARGEST_BATCH, Math.max(1, Math.floor(BATCH_MS / Math.max(this.#cost, 0.001))))
    const count = Math.min(most, this.#queue.length, this.#limits.concurrency - this.#inFlight)
    if (count <= 0) return
    const batch: Batch = []
    for (let i = 0; i < count; i++) this.#submit(this.#queue[i]!, batch)
    this.#queue = count === this.#queue.length ? [] : this.#queue.slice(count)
    this.#entered = count
    this.#armTimer()
    this.#sandbox.dispatch(batch)
  }

  #submit(call: Call, batch: Batch): void {
    const event = this.#freeEvents.pop() ?? this.#live.length
    this.#live[event] = call
    this.#inFlight++
    call.event = event
    call.phase = 'running'
    call.deadline = performance.now() + this.#limits.wallMs
    const { method, url, headers, bodyLength } = call.exchange
    if (call.whole !== null) batch.push(Submit.fetch, event, call.requestId, method, url, headers, BodyKind.whole, call.whole)
    else if (bodyLength === 0) batch.push(Submit.fetch, event, call.requestId, method, url, headers, BodyKind.none, null)
    else {
      batch.push(Submit.fetch, event, call.requestId, method, url, headers, BodyKind.stream, null)
      call.exchange.grant(INITIAL_CREDIT)
    }
  }

  #emitTo(call: Call, batch: Batch, at: number): void {
    switch (batch[at]) {
      case Emit.response:
        this.#answer(call, batch[at + 2] as number, () => call.respond(batch[at + 2] as number, batch[at + 3] as string[], batch[at + 4] as string | Uint8Array | null))
        break
      case Emit.head:
        this.#answer(call, batch[at + 2] as number, () => call.start(batch[at + 2] as number, batch[at + 3] as string[]))
        break
      case Emit.chunk:
        call.write(batch[at + 2] as Uint8Array)
        break
      case Emit.end:
        call.end()
        break
      case Emit.broken:
        call.fail('function_threw')
        break
      case Emit.failed:
        this.#log(call.event, 'error', (batch[at + 4] as string) || (batch[at + 3] as string))
        call.fail(failureCode(batch[at + 2] as string))
        break
      case Emit.bodyCredit:
        call.exchange.grant(batch[at + 2] as number)
        break
      case Emit.bodyCancel:
        call.exchange.discardBody()
        break
    }
  }

  #answer(call: Call, status: number, send: () => void): void {
    if (call.phase !== 'running') return
    try {
      if (!Number.isInteger(status) || status < 200 || status > 599) throw new TypeError(`Status ${status} is not between 200 and 599`)
      send()
    } catch (error) {
      this.#log(call.event, 'error', `bad_response: ${(error as Error).message}`)
      call.fail('bad_response')
    }
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
    this.#release()
  }

  #release(): void {
    this.#inFlight--
    if (this.#queue.length > 0) this.#schedule()
    else if (this.#inFlight === 0) {
      if (this.state === 'draining') this.dispose()
      else this.#observer.idle(this)
    }
  }

  #armTimer(): void {
    if (this.#timer !== undefined) return
    this.#timer = setTimeout(() => this.#expire(), this.#limits.wallMs)
  }

  /** Ends what has run for too long. The guest is told; the event's number stays taken until it says `done`. */
  #expire(): void {
    this.#timer = undefined
    const now = performance.now()
    let next = Infinity
    for (const call of this.#live) {
      if (call === null || call === undefined) continue
      if (call.deadline <= now + 1) this.#giveUp(call, 'timeout', `The event took longer than ${this.#limits.wallMs} ms`)
      else next = Math.min(next, call.deadline)
    }
    if (next !== Infinity && this.state !== 'ended') this.#timer = setTimeout(() => this.#expire(), next - now)
  }

  #giveUp(call: Call, code: ErrorCode, message: string): void {
    const { event } = call
    if (call.phase !== 'answered' && call.phase !== 'gone') this.#log(event, 'error', `${code}: ${message}`)
    call.fail(code)
    this.#sandbox.dispatch([Submit.abort, event, message])
    this.#live[event] = null
    this.#abandoned++
    // A guest that does not let go of its events is replaced, before they fill its memory.
    if (this.#abandoned > this.#limits.concurrency) this.state = 'draining'
    this.#release()
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

function failureCode(code: string): ErrorCode {
  return code === 'no_response' || code === 'bad_response' ? code : 'function_threw'
}
