import assert from 'node:assert/strict'
import { afterEach, suite, test } from 'node:test'
import * as fc from 'fast-check'
import type { Dispatcher } from 'undici'
import { DEFAULT_LIMITS } from '../limits.ts'
import type { Limits } from '../limits.ts'
import { Emit, INITIAL_CREDIT, Submit } from '../protocol.ts'
import type { Batch } from '../protocol.ts'
import { Network } from './network.ts'
import { Operations } from './operations.ts'

/** A request that the agent was given: the other end of it is the test's. */
class Asked {
  readonly options: Dispatcher.DispatchOptions
  readonly #handler: Dispatcher.DispatchHandler
  paused = false
  isOver = false
  #hasStarted = false
  readonly controller: Dispatcher.DispatchController

  constructor(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler) {
    this.options = options
    this.#handler = handler
    const abort = (error: Error) => this.fail(error)
    const controller = {
      pause: () => (this.paused = true),
      resume: () => (this.paused = false),
      abort,
      rawHeaders: [] as Buffer[],
    }
    this.controller = controller as unknown as Dispatcher.DispatchController
    handler.onRequestStart!(this.controller, undefined)
  }

  respond(status: number, headers: string[] = []): void {
    if (this.isOver || this.#hasStarted) return
    if (status >= 200) this.#hasStarted = true
    this.controller.rawHeaders = headers.map((text) => Buffer.from(text))
    this.#handler.onResponseStart!(this.controller, status, {}, 'OK')
  }

  data(bytes: number): void {
    if (!this.isOver && this.#hasStarted && !this.paused) this.#handler.onResponseData!(this.controller, Buffer.alloc(bytes))
  }

  end(): void {
    if (this.isOver || !this.#hasStarted || this.paused) return
    this.isOver = true
    this.#handler.onResponseEnd!(this.controller, {})
  }

  fail(error: Error): void {
    if (this.isOver) return
    this.isOver = true
    this.#handler.onResponseError!(this.controller, error)
  }
}

const made: Operations[] = []

function setUp(limits: Partial<Limits> = {}) {
  const live = new Set<number>()
  const asked: Asked[] = []
  const told: Batch[] = []
  const network = new Network({ allow: [], deny: [] }).enter('acme', { allow: [], deny: [] })
  const agent = {
    dispatch: (options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler) =>
      asked.push(new Asked(options, handler)) > 0,
    destroy: async () => {},
  }
  const operations = new Operations({
    limits: { ...DEFAULT_LIMITS, ...limits },
    network,
    loopId: 'skep-1',
    submit: (batch) => told.push(batch),
    isLive: (event) => live.has(event),
    createAgent: () => agent as unknown as Dispatcher,
  })
  made.push(operations)
  return {
    operations,
    network,
    asked,
    told,
    live,
    open: () => asked.filter((request) => !request.isOver),
    begin(event: number, loop?: string) {
      live.add(event)
      const headers = loop === undefined ? [] : ['cdn-loop', loop]
      operations.dispatched([Submit.fetch, event, 'id', 'GET', 'http://f.test/', headers, 0, null], live.size)
    },
    finish(event: number) {
      if (live.delete(event)) operations.eventEnded(event, live.size)
    },
    fetch(id: number, event: number, more: Record<string, unknown> = {}) {
      const argument = {
        method: 'GET',
        url: 'http://o.test/',
        redirect: 'follow',
        headers: [],
        body: null,
        streamed: false,
        ...more,
      }
      operations.handle([Emit.operation, id, event, 'fetch', argument as never], 0)
    },
    emit: (...message: Batch) => operations.handle(message, 0),
    of: (id: number) => told.filter((batch) => batch[1] === id).map((batch) => batch[0]),
  }
}

const loopsOf = (asked: Asked[]) =>
  asked.map(({ options }) => {
    const headers = options.headers as string[]
    return headers[headers.indexOf('cdn-loop') + 1]
  })

suite('operations', () => {
  afterEach(() => {
    for (const operations of made.splice(0)) operations.close()
  })

  test('an event has its own number of requests; those of no event, of ended and of invented ones have what is left', () => {
    const { fetch, begin, finish, asked, told } = setUp({ subrequests: 3, subrequestsAtOnce: 100 })
    begin(1)
    begin(2)
    for (let id = 1; id <= 5; id++) fetch(id, 1)
    assert.equal(asked.length, 3)
    assert.match(String(told.at(-1)![3]), /limit subrequests/)
    for (let id = 10; id <= 20; id++) fetch(id, [0, 77, 1e9][id % 3]!)
    assert.equal(asked.length, 6, 'together they have what two events have')
    fetch(30, 2)
    assert.equal(asked.length, 6)
    finish(1)
    fetch(31, 1)
    assert.equal(asked.length, 6, 'the number of an ended event counts for none')
    begin(1)
    for (let id = 40; id <= 45; id++) fetch(id, 1)
    assert.equal(asked.length, 9)
    finish(1)
    finish(2)
    begin(3)
    for (let id = 50; id <= 55; id++) fetch(id, 3)
    assert.equal(asked.length, 12)
  })

  test('of one event only so many run at once; the others begin in order as those end', () => {
    const { fetch, begin, asked, emit, open, of } = setUp({ subrequestsAtOnce: 2 })
    begin(1)
    for (let id = 1; id <= 5; id++) fetch(id, 1, { url: `http://o.test/${id}` })
    assert.equal(asked.length, 2)
    asked[0]!.respond(204)
    assert.deepEqual(of(1), [Submit.operationDone])
    emit(Emit.operationCancel, 4)
    emit(Emit.operationCancel, 2)
    assert.deepEqual(
      asked.map(({ options }) => options.path),
      ['/1', '/2', '/3', '/5'],
    )
    assert.equal(open().length, 3, 'an answer without a body that has not ended on the wire is the agent’s')
    assert.deepEqual(of(2), [])
  })

  test('what waits when its event ends never begins', () => {
    const { fetch, begin, finish, asked, open, of, operations } = setUp({ subrequestsAtOnce: 1 })
    begin(1)
    begin(2)
    for (let id = 1; id <= 4; id++) fetch(id, 1)
    finish(1)
    assert.deepEqual([asked.length, open().length], [1, 0])
    for (let id = 1; id <= 4; id++) assert.deepEqual(of(id), [Submit.operationFailed])
    assert.deepEqual(operations.stats, { running: 0, shares: 0, heldBytes: 0, loops: 0 })
  })

  test('a storm of cancellations leaves nothing behind', () => {
    const { fetch, begin, emit, open, operations } = setUp({ subrequests: 100_000 })
    begin(1)
    for (let id = 1; id <= 20_000; id++) {
      fetch(id, 1)
      if (id % 2 === 0) emit(Emit.operationCancel, id - 1)
      emit(Emit.operationCancel, id)
    }
    assert.equal(open().length, 0)
    assert.equal(operations.stats.running, 0)
  })

  test('a body that is written without room ends its operation', () => {
    const { fetch, begin, emit, open, told, of } = setUp()
    begin(1)
    fetch(1, 1, { method: 'POST', streamed: true })
    emit(Emit.operationChunk, 1, new Uint8Array(INITIAL_CREDIT))
    assert.equal(open().length, 1)
    emit(Emit.operationChunk, 1, new Uint8Array(1))
    assert.deepEqual(of(1), [Submit.operationFailed])
    assert.match(String(told.at(-1)![3]), /without being given room/)
    assert.equal(open().length, 0)
    // Also where it waits for its turn, and for one that sends no stream nothing is kept.
    for (let id = 2; id <= 8; id++) fetch(id, 1, { method: 'POST', streamed: true })
    emit(Emit.operationChunk, 8, new Uint8Array(INITIAL_CREDIT + 1))
    assert.deepEqual(of(8), [Submit.operationFailed])
    fetch(9, 1)
    emit(Emit.operationChunk, 9, new Uint8Array(INITIAL_CREDIT + 1))
    assert.deepEqual(of(9), [])
  })

  test('whole bodies that wait are bounded together', () => {
    const { fetch, begin, told, operations, emit } = setUp({ memoryMb: 1 })
    begin(1)
    fetch(1, 1, { method: 'POST', body: 'x'.repeat(600_000) })
    fetch(2, 1, { method: 'POST', body: new Uint8Array(600_000) })
    assert.match(String(told.at(-1)![3]), /more than 1 MB/)
    emit(Emit.operationCancel, 1)
    fetch(3, 1, { method: 'POST', body: new Uint8Array(600_000) })
    assert.equal(operations.stats.heldBytes, 600_000)
  })

  test('two operations of one number are both over', () => {
    const { fetch, begin, open, of } = setUp()
    begin(1)
    fetch(1, 1)
    fetch(1, 1)
    assert.equal(open().length, 0)
    assert.deepEqual(of(1), [Submit.operationFailed])
  })

  test('an answer after its cancellation, and after the end of all, is not told', () => {
    const { fetch, begin, emit, asked, told, operations } = setUp()
    begin(1)
    fetch(1, 1)
    fetch(2, 1)
    emit(Emit.operationCancel, 1)
    asked[0]!.isOver = false
    asked[0]!.respond(200)
    asked[0]!.data(10)
    operations.close()
    asked[1]!.isOver = false
    asked[1]!.respond(200)
    fetch(3, 1)
    assert.deepEqual(told, [])
  })

  test('an operation that outlives the wall time is cut, whatever its event does', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const { fetch, begin, open, told } = setUp({ wallMs: 1_000 })
    begin(1)
    fetch(1, 1)
    t.mock.timers.tick(999)
    assert.equal(open().length, 1)
    t.mock.timers.tick(1)
    assert.equal(open().length, 0)
    assert.deepEqual(told.at(-1)!.slice(0, 3), [Submit.operationFailed, 1, 'TimeoutError'])
  })

  test('CDN-Loop: what the event came with and the host’s own; the longest way where the event is not known', () => {
    const { fetch, begin, finish, asked } = setUp({ subrequestsAtOnce: 100 })
    begin(1, 'x, skep-1')
    begin(2)
    begin(3, 'skep-1, skep-1')
    fetch(1, 1, { headers: ['cdn-loop', 'gone'] })
    fetch(2, 2)
    fetch(3, 0)
    fetch(4, 99)
    finish(3)
    fetch(5, 0)
    finish(1)
    begin(1)
    fetch(6, 1)
    assert.deepEqual(loopsOf(asked), [
      'x, skep-1, skep-1',
      'skep-1',
      'skep-1, skep-1, skep-1',
      'skep-1, skep-1, skep-1',
      'x, skep-1, skep-1',
      'skep-1',
    ])
  })

  test('an answer’s body comes within the credit that the guest gives', () => {
    const { fetch, begin, emit, asked, of } = setUp()
    begin(1)
    fetch(1, 1)
    asked[0]!.respond(200)
    for (let i = 0; i < 10; i++) asked[0]!.data(65_536)
    assert.equal(of(1).filter((type) => type === Submit.operationChunk).length, INITIAL_CREDIT / 65_536)
    assert.ok(asked[0]!.paused)
    emit(Emit.operationCredit, 1, 1e15)
    assert.ok(!asked[0]!.paused)
    for (let i = 0; i < 10; i++) asked[0]!.data(65_536)
    assert.equal(of(1).filter((type) => type === Submit.operationChunk).length, (2 * INITIAL_CREDIT) / 65_536)
  })

  test('redirects: twenty, not in circles without end, none to what may not be fetched; interim answers are bounded', async () => {
    const { fetch, begin, asked, told } = setUp({ subrequestsAtOnce: 100 })
    begin(1)
    fetch(1, 1)
    for (let i = 0; i < 25; i++) {
      asked.at(-1)!.respond(302, ['location', '/again', 'content-length', '0'])
      asked.at(-1)!.end()
      await Promise.resolve()
    }
    assert.equal(asked.length, 21)
    assert.match(String(told.at(-1)![3]), /redirected more than 20 times/)
    for (const [id, location] of [
      [2, 'file:///etc/passwd'],
      [3, 'data:,x'],
      [4, 'ftp://o.test/'],
      [5, 'http://u:p@o.test/'],
    ] as const) {
      fetch(id, 1)
      asked.at(-1)!.respond(307, ['location', location])
      assert.equal(told.at(-1)![0], Submit.operationFailed, location)
    }
    fetch(6, 1)
    for (let i = 0; i < 20; i++) asked.at(-1)!.respond(103)
    assert.match(String(told.at(-1)![3]), /interim answers without end/)
    fetch(7, 1)
    asked.at(-1)!.respond(
      200,
      Array.from({ length: 2_002 }, (_, i) => `x${i}`),
    )
    assert.match(String(told.at(-1)![3]), /more than 1000 headers/)
  })

  test('a hostile guest and hostile servers, at random: bounds hold, nothing throws, nothing is left', () => {
    const limits = { subrequests: 5, subrequestsAtOnce: 2, memoryMb: 1, wallMs: 1_000_000 }
    const id = fc.integer({ min: 1, max: 12 })
    const event = fc.integer({ min: 0, max: 4 })
    const bytes = fc.constantFrom(0, 1, 65_536, INITIAL_CREDIT, INITIAL_CREDIT + 1)
    const pick = fc.nat({ max: 1_000 })
    const step = fc.oneof(
      fc.tuple(fc.constant('begin' as const), event, fc.constantFrom(undefined, 'skep-1', 'x, skep-1')),
      fc.tuple(fc.constant('finish' as const), event, pick),
      fc.tuple(fc.constant('fetch' as const), id, fc.tuple(event, fc.boolean(), bytes)),
      fc.tuple(fc.constant('chunk' as const), id, bytes),
      fc.tuple(fc.constant('end' as const), id, pick),
      fc.tuple(fc.constant('credit' as const), id, bytes),
      fc.tuple(fc.constant('cancel' as const), id, pick),
      fc.tuple(fc.constant('respond' as const), pick, fc.constantFrom(100, 103, 200, 204, 302, 307, 304)),
      fc.tuple(fc.constant('data' as const), pick, bytes),
      fc.tuple(fc.constant('over' as const), pick, pick),
      fc.tuple(fc.constant('fail' as const), pick, pick),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const all = setUp(limits)
        /** Whether the guest may still hear of an operation. */
        const isOpen = new Map<number, boolean>()
        let heard = 0
        const hear = () => {
          for (; heard < all.told.length; heard++) {
            const [type, of, result] = all.told[heard]!
            assert.ok(isOpen.get(of as number), `message ${String(type)} of an operation that is over`)
            const isLast =
              type === Submit.operationFailed ||
              type === Submit.operationEnd ||
              (type === Submit.operationDone && (result as { hasBody: boolean }).hasBody === false)
            if (isLast) isOpen.set(of as number, false)
          }
        }
        for (const [what, a, b] of steps) {
          const request = all.open()[(a as number) % Math.max(1, all.open().length)]
          if (what === 'begin' && a > 0) all.begin(a, b as string | undefined)
          else if (what === 'finish') all.finish(a)
          else if (what === 'fetch') {
            const [claimed, streamed, size] = b as [number, boolean, number]
            isOpen.set(a, true)
            all.fetch(a, claimed, { method: 'POST', streamed, body: streamed ? null : 'x'.repeat(size) })
          } else if (what === 'chunk') all.emit(Emit.operationChunk, a, new Uint8Array(b as number))
          else if (what === 'end') all.emit(Emit.operationEnd, a)
          else if (what === 'credit') all.emit(Emit.operationCredit, a, b as number)
          else if (what === 'cancel') {
            hear()
            isOpen.set(a, false)
            all.emit(Emit.operationCancel, a)
          } else if (what === 'respond') request?.respond(b as number, ['location', '/x', 'content-length', '1'])
          else if (what === 'data') request?.data(b as number)
          else if (what === 'over') request?.end()
          else if (what === 'fail') request?.fail(new Error('x'))
          hear()
          const live = Math.max(1, all.live.size)
          const { running, shares, heldBytes, loops } = all.operations.stats
          assert.ok(running <= live * limits.subrequests, `${running} operations for ${live} events`)
          assert.ok(shares <= live + 1 && loops <= live && heldBytes <= 1_048_576)
        }
        for (const left of all.live) all.finish(left)
        hear()
        // Without a live event only what was asked for since then is there.
        all.operations.close()
        assert.equal(all.open().filter(({ paused }) => paused).length, 0)
        assert.deepEqual(all.operations.stats, { running: 0, shares: 0, heldBytes: 0, loops: 0 })
        assert.equal(all.network.windows, 0)
      }),
      { numRuns: Number(process.env['SKEP_FUZZ_RUNS'] ?? 1_500) },
    )
  })
})
