import type { Agent } from 'undici'
import { Emit, Submit } from '../protocol.ts'
import type { Batch, PlainObject } from '../protocol.ts'
import type { Limits } from '../limits.ts'
import { createAgent } from './connect.ts'
import type { EgressRules } from './egress.ts'
import { startFetch } from './fetch.ts'
import type { OperationHandle } from './fetch.ts'

/** What one sandbox has asked of the host: outbound requests, counted per event, ended with the sandbox. */
export class Operations {
  readonly #limits: Limits
  readonly #rules: EgressRules
  readonly #submit: (batch: Batch) => void
  readonly #running = new Map<number, { handle: OperationHandle; event: number; started: boolean }>()
  readonly #waiting: (() => void)[] = []
  /** Outbound requests so far by event; event 0 stands for those whose event is not known. */
  readonly #counts = new Map<number, number>()
  #agent: Agent | undefined

  constructor(limits: Limits, rules: EgressRules, submit: (batch: Batch) => void) {
    this.#limits = limits
    this.#rules = rules
    this.#submit = submit
  }

  /** Takes a checked message of the guest's about an operation. */
  handle(batch: Batch, at: number): void {
    const id = batch[at + 1] as number
    switch (batch[at]) {
      case Emit.operation:
        this.#start(id, batch[at + 2] as number, batch[at + 3] as string, batch[at + 4] as PlainObject)
        break
      case Emit.operationChunk:
        this.#running.get(id)?.handle.chunk(batch[at + 2] as Uint8Array)
        break
      case Emit.operationEnd:
        this.#running.get(id)?.handle.end()
        break
      case Emit.operationCredit:
        this.#running.get(id)?.handle.credit(batch[at + 2] as number)
        break
      case Emit.operationCancel:
        this.#running.get(id)?.handle.cancel()
        this.#finish(id)
        break
    }
  }

  /** An event has ended: its count is free. What it left running goes on, as `waitUntil` is the way to wait for it. */
  eventEnded(event: number): void {
    this.#counts.delete(event)
    if (event !== 0 && this.#counts.size <= 1) this.#counts.delete(0)
  }

  close(): void {
    for (const { handle } of this.#running.values()) handle.cancel()
    this.#running.clear()
    this.#waiting.length = 0
    void this.#agent?.destroy()
  }

  #start(id: number, event: number, name: string, argument: PlainObject): void {
    if (name !== 'fetch' || this.#running.has(id)) {
      this.#submit([Submit.operationFailed, id, 'TypeError', `There is no operation ${name.slice(0, 50)}`])
      return
    }
    const count = (this.#counts.get(event) ?? 0) + 1
    if (count > this.#limits.subrequests) {
      const message = `fetch: this event has made ${this.#limits.subrequests} outbound requests, the most that it may (limit subrequests)`
      this.#submit([Submit.operationFailed, id, 'TypeError', message])
      return
    }
    this.#counts.set(event, count)
    // Of the same event only so many run at once; the others wait here, in order.
    const begin = () => {
      this.#agent ??= createAgent(this.#rules)
      const handle = startFetch(argument, this.#agent, {
        done: (result) => this.#submitFor(id, [Submit.operationDone, id, result], result.hasBody === false),
        chunk: (bytes) => this.#submitFor(id, [Submit.operationChunk, id, bytes], false),
        ended: () => this.#submitFor(id, [Submit.operationEnd, id], true),
        failed: (errorName, message) => this.#submitFor(id, [Submit.operationFailed, id, errorName, message], true),
        credit: (bytes) => this.#submitFor(id, [Submit.operationCredit, id, bytes], false),
      })
      this.#running.set(id, { handle, event, started: true })
    }
    if (this.#runningOf(event) < this.#limits.subrequestsAtOnce) begin()
    else this.#park(id, event, begin)
  }

  /** Stands in for an operation that waits for its turn: what the guest sends into it is kept. */
  #park(id: number, event: number, begin: () => void): void {
    const sent: ((handle: OperationHandle) => void)[] = []
    let cancelled = false
    const handle: OperationHandle = {
      chunk: (bytes) => void sent.push((real) => real.chunk(bytes)),
      end: () => void sent.push((real) => real.end()),
      credit: () => {},
      cancel: () => {
        cancelled = true
      },
    }
    this.#running.set(id, { handle, event, started: false })
    const attempt = () => {
      if (cancelled) return
      if (this.#runningOf(event) >= this.#limits.subrequestsAtOnce) {
        this.#waiting.push(attempt)
        return
      }
      begin()
      for (const send of sent) send(this.#running.get(id)!.handle)
    }
    this.#waiting.push(attempt)
  }

  #runningOf(event: number): number {
    let count = 0
    for (const running of this.#running.values()) if (running.started && running.event === event) count++
    return count
  }

  #submitFor(id: number, batch: Batch, last: boolean): void {
    if (!this.#running.has(id)) return
    if (last) this.#finish(id)
    this.#submit(batch)
  }

  #finish(id: number): void {
    this.#running.delete(id)
    for (const attempt of this.#waiting.splice(0)) attempt()
  }
}
