import type { Agent } from 'undici'
import { Emit, Submit } from '../protocol.ts'
import type { Batch, PlainObject } from '../protocol.ts'
import type { Limits } from '../limits.ts'
import { createAgent } from './connect.ts'
import type { EgressRules } from './egress.ts'
import { startFetch } from './fetch.ts'
import type { OperationHandle } from './fetch.ts'

interface Running {
  event: number
  /** Absent while it waits for its turn. */
  handle: OperationHandle | undefined
  begin: () => OperationHandle
  /** What the guest sent into it while it waited. */
  sent: ((handle: OperationHandle) => void)[]
}

/**
 * What one sandbox has asked of the host: outbound requests, counted per event, cut when their event or the sandbox ends.
 *
 * The guest does not always know which event it works for: such requests count for event 0, which may have as many as the
 * live events together.
 */
export class Operations {
  readonly #limits: Limits
  readonly #rules: EgressRules
  readonly #submit: (batch: Batch) => void
  readonly #running = new Map<number, Running>()
  /** Outbound requests so far by event. */
  readonly #counts = new Map<number, number>()
  #live = 1
  #agent: Agent | undefined

  constructor(limits: Limits, rules: EgressRules, submit: (batch: Batch) => void) {
    this.#limits = limits
    this.#rules = rules
    this.#submit = submit
  }

  /** `live`: how many events are. */
  setLive(live: number): void {
    this.#live = Math.max(1, live)
  }

  /** Takes a checked message of the guest's about an operation. */
  handle(batch: Batch, at: number): void {
    const id = batch[at + 1] as number
    switch (batch[at]) {
      case Emit.operation:
        this.#start(id, batch[at + 2] as number, batch[at + 3] as string, batch[at + 4] as PlainObject)
        break
      case Emit.operationChunk:
        this.#send(id, (handle) => handle.chunk(batch[at + 2] as Uint8Array))
        break
      case Emit.operationEnd:
        this.#send(id, (handle) => handle.end())
        break
      case Emit.operationCredit:
        this.#send(id, (handle) => handle.credit(batch[at + 2] as number))
        break
      case Emit.operationCancel:
        this.#cut(id)
        break
    }
  }

  /** An event has ended, of which `live` are left: what it left running is cut, as `waitUntil` is the way to wait for it. */
  eventEnded(event: number, live: number): void {
    this.setLive(live)
    this.#counts.delete(event)
    if (live === 0) this.#counts.delete(0)
    else if (this.#counts.has(0)) this.#counts.set(0, Math.max(0, this.#counts.get(0)! - this.#limits.subrequests))
    for (const [id, running] of this.#running) {
      if (running.event !== event && (live > 0 || running.event !== 0)) continue
      this.#cut(id)
      this.#submit([
        Submit.operationFailed,
        id,
        'AbortError',
        'The event that made this request has ended. ctx.waitUntil() keeps it alive.',
      ])
    }
  }

  close(): void {
    for (const { handle } of this.#running.values()) handle?.cancel()
    this.#running.clear()
    void this.#agent?.destroy()
  }

  #start(id: number, event: number, name: string, argument: PlainObject): void {
    if (name !== 'fetch' || this.#running.has(id)) {
      this.#submit([Submit.operationFailed, id, 'TypeError', `There is no operation ${name.slice(0, 50)}`])
      return
    }
    const count = (this.#counts.get(event) ?? 0) + 1
    if (count > this.#share(event, this.#limits.subrequests)) {
      const message = `fetch: this event has made ${this.#limits.subrequests} outbound requests, the most that it may (limit subrequests)`
      this.#submit([Submit.operationFailed, id, 'TypeError', message])
      return
    }
    this.#counts.set(event, count)
    const begin = () => {
      this.#agent ??= createAgent(this.#rules)
      return startFetch(argument, this.#agent, {
        done: (result) => this.#submitFor(id, [Submit.operationDone, id, result], result.hasBody === false),
        chunk: (bytes) => this.#submitFor(id, [Submit.operationChunk, id, bytes], false),
        ended: () => this.#submitFor(id, [Submit.operationEnd, id], true),
        failed: (errorName, message) => this.#submitFor(id, [Submit.operationFailed, id, errorName, message], true),
        credit: (bytes) => this.#submitFor(id, [Submit.operationCredit, id, bytes], false),
      })
    }
    const running: Running = { event, handle: undefined, begin, sent: [] }
    this.#running.set(id, running)
    this.#beginNext(event)
  }

  /** Of the same event only so many run at once; the others wait, in order. */
  #beginNext(event: number): void {
    let free = this.#share(event, this.#limits.subrequestsAtOnce)
    for (const running of this.#running.values()) {
      if (running.event !== event) continue
      if (free-- <= 0) return
      if (running.handle !== undefined) continue
      running.handle = running.begin()
      for (const send of running.sent.splice(0)) send(running.handle)
    }
  }

  #share(event: number, limit: number): number {
    return event === 0 ? limit * this.#live : limit
  }

  #send(id: number, send: (handle: OperationHandle) => void): void {
    const running = this.#running.get(id)
    if (running === undefined) return
    if (running.handle === undefined) running.sent.push(send)
    else send(running.handle)
  }

  #submitFor(id: number, batch: Batch, last: boolean): void {
    const running = this.#running.get(id)
    if (running === undefined) return
    if (last) this.#finish(id, running)
    this.#submit(batch)
  }

  #cut(id: number): void {
    const running = this.#running.get(id)
    if (running === undefined) return
    running.handle?.cancel()
    this.#finish(id, running)
  }

  #finish(id: number, running: Running): void {
    this.#running.delete(id)
    this.#beginNext(running.event)
  }
}
