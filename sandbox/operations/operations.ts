import type { Dispatcher } from 'undici'
import { Emit, Submit, SUBMIT_FIELDS } from '../protocol.ts'
import type { Batch, PlainObject } from '../protocol.ts'
import type { Limits } from '../limits.ts'
import { loopOf, passesIn } from './cdn-loop.ts'
import { createAgent } from './connect.ts'
import { explain, OutboundFetch } from './fetch.ts'
import type { TenantNetwork } from './network.ts'
import { readRequest } from './request.ts'
import type { OutboundRequest } from './request.ts'

interface Running {
  event: number
  fetch: OutboundFetch
  /** Bytes of a whole body that it holds. */
  held: number
  hasBegun: boolean
  late: NodeJS.Timeout
}

/** What one event has asked for. */
interface Share {
  /** Outbound requests so far. */
  used: number
  running: number
  /** Those that wait for their turn, in order. */
  waiting: Set<number>
}

export interface OperationsContext {
  limits: Limits
  network: TenantNetwork
  /** What this host adds to `CDN-Loop`. */
  loopId: string
  submit: (batch: Batch) => void
  isLive: (event: number) => boolean
  /** Makes the connections; a test's may send nothing. */
  createAgent?: (network: TenantNetwork) => Dispatcher
}

/**
 * What one sandbox has asked of the host: outbound requests, counted per event, cut when their event or the sandbox ends.
 *
 * The guest does not always know which event it works for: such requests count for event 0, as do those of an event that
 * is not live. Together all may make as many as the live events have, whatever the guest says whose they are.
 */
export class Operations {
  readonly #context: OperationsContext
  readonly #running = new Map<number, Running>()
  readonly #shares = new Map<number, Share>()
  /** `CDN-Loop` of the live events that came with one. */
  readonly #loops = new Map<number, string>()
  /** Outbound requests of all shares so far. */
  #used = 0
  #heldBytes = 0
  #live = 1
  #agent: Dispatcher | undefined
  #isClosed = false

  constructor(context: OperationsContext) {
    this.#context = context
  }

  /** These messages go in; `live`: how many events are then. */
  dispatched(batch: Batch, live: number): void {
    for (let at = 0; at < batch.length; at += SUBMIT_FIELDS[batch[at] as number]! + 1) {
      if (batch[at] !== Submit.fetch) continue
      const loop = loopOf(batch[at + 5] as string[])
      if (loop !== '') this.#loops.set(batch[at + 1] as number, loop)
    }
    this.#live = Math.max(1, live)
    if (this.#shares.size > 0) this.#beginNext(0)
  }

  /** Takes a checked message of the guest's about an operation. */
  handle(batch: Batch, at: number): void {
    const id = batch[at + 1] as number
    if (batch[at] === Emit.operation) {
      this.#start(id, batch[at + 2] as number, batch[at + 3] as string, batch[at + 4] as PlainObject)
      return
    }
    const fetch = this.#running.get(id)?.fetch
    if (fetch === undefined) return
    switch (batch[at]) {
      case Emit.operationChunk:
        if (!fetch.chunk(batch[at + 2] as Uint8Array)) this.#refuse(id, 'fetch: it wrote on without being given room')
        break
      case Emit.operationEnd:
        fetch.end()
        break
      case Emit.operationCredit:
        fetch.credit(batch[at + 2] as number)
        break
      case Emit.operationCancel:
        this.#cut(id)
        break
    }
  }

  /** An event has ended, of which `live` are left: what it left running is cut, as `waitUntil` is the way to wait for it. */
  eventEnded(event: number, live: number): void {
    this.#live = Math.max(1, live)
    if (this.#loops.size > 0) this.#loops.delete(event)
    if (this.#shares.size === 0) return
    // First, so that what is cut makes room for nothing.
    this.#settle(event, live)
    for (const [id, running] of this.#running) {
      if (running.event !== event && (live > 0 || running.event !== 0)) continue
      this.#refuse(id, 'The event that made this request has ended. ctx.waitUntil() keeps it alive.', 'AbortError')
    }
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const id of this.#running.keys()) this.#cut(id)
    this.#shares.clear()
    this.#loops.clear()
    void this.#agent?.destroy()
    this.#context.network.leave()
  }

  /** For tests: all of them are zero once nothing runs. */
  get stats(): { running: number; shares: number; heldBytes: number; loops: number } {
    return { running: this.#running.size, shares: this.#shares.size, heldBytes: this.#heldBytes, loops: this.#loops.size }
  }

  /** What an event used goes with it, and of what no event is known for as much as it had left. */
  #settle(event: number, live: number): void {
    if (live === 0) {
      this.#shares.clear()
      this.#used = 0
      return
    }
    const used = this.#shares.get(event)?.used ?? 0
    this.#shares.delete(event)
    const unknown = this.#shares.get(0)
    const given = Math.min(unknown?.used ?? 0, this.#context.limits.subrequests - used)
    if (unknown !== undefined) unknown.used -= given
    this.#used -= used + given
  }

  #start(id: number, claimed: number, name: string, argument: PlainObject): void {
    if (this.#isClosed) return
    if (this.#running.has(id)) {
      this.#refuse(id, 'fetch: two operations of one number')
      return
    }
    const fail = (message: string) => this.#context.submit([Submit.operationFailed, id, 'TypeError', message])
    if (name !== 'fetch') {
      fail(`There is no operation ${name.slice(0, 50)}`)
      return
    }
    const event = this.#context.isLive(claimed) ? claimed : 0
    const share = this.#share(event)
    const { subrequests, memoryMb, wallMs } = this.#context.limits
    if ((event !== 0 && share.used >= subrequests) || this.#used >= subrequests * this.#live) {
      fail(`fetch: this event has made ${subrequests} outbound requests, the most that it may (limit subrequests)`)
      return
    }
    share.used++
    this.#used++
    let request: OutboundRequest
    try {
      request = readRequest(argument, this.#loopFor(event), this.#context.loopId)
    } catch (error) {
      fail(explain(error, argument.url))
      return
    }
    const held = request.body?.length ?? 0
    if (this.#heldBytes + held > memoryMb * 1_048_576) {
      fail(`fetch: the bodies of requests under way have more than ${memoryMb} MB; send them as streams, or one after the other`)
      return
    }
    this.#heldBytes += held
    const fetch = new OutboundFetch(request, this.#context.network, {
      done: (result) => this.#tell(id, [Submit.operationDone, id, result], result.hasBody === false),
      chunk: (bytes) => this.#tell(id, [Submit.operationChunk, id, bytes], false),
      ended: () => this.#tell(id, [Submit.operationEnd, id], true),
      failed: (errorName, message) => this.#tell(id, [Submit.operationFailed, id, errorName, message], true),
      credit: (bytes) => this.#tell(id, [Submit.operationCredit, id, bytes], false),
    })
    // An event lives no longer; a guest that never ends one must not hold connections for it.
    const late = setTimeout(() => this.#refuse(id, `fetch: not done within ${wallMs} ms`, 'TimeoutError'), wallMs)
    this.#running.set(id, { event, fetch, held, hasBegun: false, late })
    share.waiting.add(id)
    this.#beginNext(event)
  }

  #share(event: number): Share {
    let share = this.#shares.get(event)
    if (share === undefined) this.#shares.set(event, (share = { used: 0, running: 0, waiting: new Set() }))
    return share
  }

  /** Where no event is known, the longest way that a live one came: nobody forgets it by awaiting something. */
  #loopFor(event: number): string {
    if (this.#loops.size === 0) return ''
    if (event !== 0) return this.#loops.get(event) ?? ''
    const { loopId } = this.#context
    let longest = ''
    for (const loop of this.#loops.values())
      if (longest === '' || passesIn(loop, loopId) > passesIn(longest, loopId)) longest = loop
    return longest
  }

  /** Of the same event only so many run at once; the others wait, in order. */
  #beginNext(event: number): void {
    const share = this.#shares.get(event)
    if (share === undefined) return
    const { subrequestsAtOnce } = this.#context.limits
    for (const id of share.waiting) {
      if (share.running >= (event === 0 ? subrequestsAtOnce * this.#live : subrequestsAtOnce)) return
      share.waiting.delete(id)
      share.running++
      const running = this.#running.get(id)!
      running.hasBegun = true
      this.#agent ??= (this.#context.createAgent ?? createAgent)(this.#context.network)
      running.fetch.begin(this.#agent)
    }
  }

  #tell(id: number, batch: Batch, isLast: boolean): void {
    const running = this.#running.get(id)
    if (running === undefined) return
    if (isLast) this.#finish(id, running)
    this.#context.submit(batch)
  }

  /** Ends one that the guest still waits for. */
  #refuse(id: number, message: string, errorName = 'TypeError'): void {
    this.#cut(id)
    this.#context.submit([Submit.operationFailed, id, errorName, message])
  }

  #cut(id: number): void {
    const running = this.#running.get(id)
    if (running === undefined) return
    running.fetch.cancel()
    this.#finish(id, running)
  }

  #finish(id: number, running: Running): void {
    clearTimeout(running.late)
    this.#running.delete(id)
    this.#heldBytes -= running.held
    const share = this.#shares.get(running.event)
    if (share === undefined) return
    if (running.hasBegun) share.running--
    else share.waiting.delete(id)
    if (!this.#isClosed) this.#beginNext(running.event)
  }
}
