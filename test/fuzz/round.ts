import { Admission } from '../../host/admission.ts'
import { Call, WHOLE_BODY } from '../../host/call.ts'
import { configSchema } from '../../host/config.ts'
import { Pool } from '../../host/pool.ts'
import { FakeClock } from '../../host/test-support/clock.ts'
import { specOf } from '../../host/test-support/sandbox.ts'
import { Usage } from '../../host/usage.ts'
import { checkBatch } from '../../sandbox/emissions.ts'
import { EnforcedLimits } from '../../sandbox/enforced-limits.ts'
import { IsolateSandbox } from '../../sandbox/isolate.ts'
import type { IsolateContext } from '../../sandbox/isolate.ts'
import { Lanes } from '../../sandbox/lanes.ts'
import { Network } from '../../sandbox/operations/network.ts'
import { Emit } from '../../sandbox/protocol.ts'
import type { Batch } from '../../sandbox/protocol.ts'
import type { Sandbox } from '../../sandbox/sandbox.ts'
import { Stretch } from '../../sandbox/stretch.ts'
import type { Action, EventRef, Message } from './actions.ts'
import { FakeEngine } from './fake-engine.ts'
import type { FakeIsolate } from './fake-engine.ts'
import { StrictExchange } from './strict-exchange.ts'

const VERSION = { tenant: 'acme', function: 'fuzzed', version: '1'.repeat(16) }
const WALL_MS = 30_000
/** A guest may have given up events, which keep their numbers; it is replaced once they are as many as may be in flight. */
const LIMITS = { concurrency: 20, wallMs: WALL_MS, logBytes: 10_000, bodyBytes: 1_000_000, timers: 100 }
const network = new Network({ allow: [], deny: [] })
const config = configSchema.parse({})
/** Never full, and no other round's to wait for. */
const CORES = 64

/**
 * Pool, instance, sandbox, operations and timers as they are, between clients that hold the host to its contract and an
 * isolate in hostile hands. `batches`: how many were emitted; `problem`: what the host did wrong, or ''.
 */
export async function runRound(actions: Action[]): Promise<{ batches: number; problem: string }> {
  const round = new Round()
  let problem = ''
  try {
    for (const action of actions) {
      const waits = round.act(action)
      if (waits) await turns(action.do === 'pass' ? 3 : 1)
    }
    problem = await round.end()
  } catch (error) {
    problem = `thrown: ${(error as Error).stack}`
  }
  return { batches: round.batches, problem }
}

class Round {
  batches = 0
  readonly #clock = new FakeClock()
  readonly #engine = new FakeEngine()
  readonly #exchanges: StrictExchange[] = []
  readonly #calls: Call[] = []
  readonly #finished = new Map<Call, number>()
  readonly #live = new Set<Sandbox>()
  #hasMalformed = false
  #logged = 0
  #problem = ''
  readonly #usage = new Usage()
  readonly #use = this.#usage.of(VERSION.tenant, VERSION.function)
  readonly #admission = new Admission({ config, usage: this.#usage, cores: CORES, waited() {} })
  readonly #pool: Pool

  constructor() {
    const context: IsolateContext = {
      engine: this.#engine,
      network,
      lanes: new Lanes(CORES),
      tainted: () => {},
      createLimits: (limits) => new EnforcedLimits(limits, new Stretch(() => 0)),
      live: this.#live,
    }
    this.#pool = new Pool({
      factory: {
        placement: 'inline',
        create: (spec, observer) => new IsolateSandbox(context, spec, observer),
        close: async () => {},
      },
      clock: this.#clock,
      admission: this.#admission,
      maxIsolates: 3,
      maxMemory: 1e9,
      idleMs: 1e9,
      load: async () => specOf('fuzzed', LIMITS),
      observer: {
        coldStart() {},
        evicted() {},
        failed: (_, { code }) => {
          if (code === 'internal' || (code === 'bad_guest' && !this.#hasMalformed)) this.#wrong(`a sandbox ended as ${code}`)
        },
        notLoaded: (_, error) => this.#wrong(`not loaded: ${error.message}`),
        log: (_, { text, level }) => {
          this.#logged += text.length
          if (!['debug', 'info', 'warn', 'error'].includes(level)) this.#wrong(`a line of level ${level}`)
        },
      },
    })
  }

  get #isolate(): FakeIsolate | undefined {
    return this.#engine.made.at(-1)
  }

  /** True when what it set off needs turns of the event loop. */
  act(action: Action): boolean {
    const exchange = 'call' in action ? this.#exchanges[action.call % this.#exchanges.length] : undefined
    switch (action.do) {
      case 'call':
        this.#call(action.body)
        return true
      case 'emit':
        this.#emit(action.messages)
        return false
      case 'body':
        if (exchange !== undefined) this.#body(exchange, action.bytes, action.last)
        return false
      case 'leave':
        if (exchange === undefined || exchange.hasLeft || exchange.state === 'answered' || exchange.state === 'cut') return false
        exchange.hasLeft = true
        exchange.observer.aborted()
        return true
      case 'full':
        if (exchange === undefined) return false
        exchange.isFull = action.isFull
        if (!action.isFull && exchange.state === 'streaming' && !exchange.hasLeft) exchange.observer.drained()
        return false
      case 'return':
        this.#isolate?.return(action.kind)
        return true
      case 'pass':
        void this.#clock.pass(action.ms)
        return true
    }
  }

  #call(bodyLength: number): void {
    const tag = `request-${this.#calls.length + 1}`
    const exchange = new StrictExchange(tag, 'GET', 'http://a.test/', bodyLength)
    const call = new Call(exchange, tag, this.#clock.now(), (done) => {
      if (done.event === 0) this.#admission.left(done)
      this.#finished.set(done, (this.#finished.get(done) ?? 0) + 1)
    })
    exchange.observe(call)
    this.#exchanges.push(exchange)
    this.#calls.push(call)
    if (!this.#admission.enter(call, this.#use)) return
    if (bodyLength > 0 && bodyLength <= WHOLE_BODY) call.gather(() => this.#pool.run(VERSION, call))
    else this.#pool.run(VERSION, call)
  }

  /** As a listener does: no more than was granted, nothing after the end. */
  #body(exchange: StrictExchange, bytes: number, last: boolean): void {
    const { bodyLength } = exchange
    if (bodyLength === 0 || exchange.hasLeft || exchange.state === 'answered' || exchange.state === 'cut') return
    if (bodyLength > 0 && exchange.delivered === bodyLength) return
    if (exchange.delivered < 0) return
    const room = Math.min(
      bytes,
      exchange.granted - exchange.delivered,
      bodyLength < 0 ? Infinity : bodyLength - exchange.delivered,
    )
    const isLast = bodyLength < 0 ? last : exchange.delivered + room === bodyLength
    if (room <= 0 && !isLast) return
    exchange.delivered += room
    const chunk = new Uint8Array(room)
    exchange.observer.bodyChunk(chunk, isLast)
    // Nothing comes after the last one.
    if (isLast && bodyLength < 0) exchange.granted = exchange.delivered = -Infinity
  }

  #emit(messages: Message[]): void {
    const isolate = this.#isolate
    if (isolate === undefined || isolate.isDisposed) return
    const batch = messages.flatMap((message) => resolve(message, isolate.holders)) as Batch
    const problem = checkBatch(batch)
    if (problem !== '') this.#hasMalformed = true
    const done = problem === '' ? messages.filter(([type]) => type === Emit.done) : []
    this.batches++
    const numbers = done.map((message) => resolve(message, isolate.holders)[1] as number)
    isolate.emit(batch)
    for (const number of numbers) isolate.holders.delete(number)
  }

  #wrong(what: string): void {
    if (this.#problem === '') this.#problem = what
  }

  /** Lets time run out, and closes: every call has had one answer, and nothing is left. */
  async end(): Promise<string> {
    for (let i = 0; i < 4; i++) {
      for (const isolate of this.#engine.made) isolate.return('ok')
      await this.#clock.pass(WALL_MS + 10_000)
    }
    const closing = this.#pool.close(1_000)
    for (let i = 0; i < 3; i++) {
      for (const isolate of this.#engine.made) isolate.return('ok')
      await this.#clock.pass(2_000)
    }
    await closing
    for (const [index, exchange] of this.#exchanges.entries()) {
      const call = this.#calls[index]!
      const times = this.#finished.get(call) ?? 0
      if (exchange.problem !== '') return exchange.problem
      // A body that its client never sends is the listener's to cut.
      const waitsForBody = call.phase === 'waiting' && exchange.bodyLength > 0 && exchange.delivered < exchange.bodyLength
      if (waitsForBody) continue
      if (times !== 1) return `${exchange.tag} was finished ${times} times (${call.phase}, ${exchange.state})`
      const isOver = exchange.hasLeft || exchange.state === 'answered' || exchange.state === 'cut'
      if (!isOver) return `${exchange.tag} was left ${exchange.state}`
      if (exchange.code === 'internal') return `${exchange.tag} was answered internal`
    }
    const waiting = this.#calls.filter(({ phase }) => phase === 'waiting').length
    if (this.#use.inFlight !== waiting) return `${this.#use.inFlight} calls count as in flight, and ${waiting} wait`
    if (this.#live.size > 0) return `${this.#live.size} sandboxes were left`
    const most = 2 * LIMITS.logBytes * (this.#exchanges.length + this.#engine.made.length * 20) + 10_000 * this.#exchanges.length
    if (this.#logged > most) return `${this.#logged} characters were logged, of ${most}`
    return this.#problem
  }
}

function resolve(message: Message, holders: Map<number, string>): unknown[] {
  const numbers = [...holders.keys()]
  const fields = message.map((field) => {
    if (typeof field !== 'object' || field === null || !('event' in field)) return field
    return numbers.length === 0 ? 1 : numbers[(field as EventRef).event % numbers.length]
  })
  // A number that it has not been given a request for may be somebody's all the same, who is on the way in.
  const tag = holders.get(fields[1] as number) ?? ''
  return fields.map((field) => {
    if (field === 'own') return tag
    if (field === 'own bytes') return new Uint8Array(Buffer.from(tag))
    // As a copy out of an isolate is: nobody else's, and its receiver's to change.
    if (Array.isArray(field)) return field.length > 1_000 ? field : [...(field as unknown[])]
    return field instanceof Uint8Array ? new Uint8Array(field.length) : field
  })
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve))
}
