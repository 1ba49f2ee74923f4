import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Emit, INITIAL_CREDIT, Submit } from '../../sandbox/protocol.ts'
import type { Batch } from '../../sandbox/protocol.ts'
import type { SandboxFactory } from '../../sandbox/sandbox.ts'
import { fetchMessage, handler, Probe } from './probe.ts'
import type { ProbeOptions } from './probe.ts'

/** What one call of a handler gets, and what becomes of what it gives back. */
export function eventCases(factory: () => SandboxFactory): void {
  const withProbe = (name: string, code: string, run: (probe: Probe) => Promise<void>, options?: ProbeOptions) =>
    test(name, async () => {
      const probe = new Probe(factory(), code, options)
      await probe.sandbox.ready
      await run(probe)
      assert.deepEqual(probe.failures, [])
      probe.sandbox.dispose()
    })

  withProbe(
    'a request as it came in, and the environment',
    handler(
      `return Response.json([request.method, request.url, [...request.headers], await request.text(), env.KEY], { status: 201, headers: { 'X-A': 'b' } })`,
    ),
    async (probe) => {
      const answer = await probe.answer(probe.send('/p?q', { method: 'PUT', headers: ['a', '1', 'b', '2'], body: 'hé' }))
      assert.equal(answer.status, 201)
      assert.deepEqual(answer.headers, ['x-a', 'b', 'content-type', 'application/json'])
      assert.deepEqual(JSON.parse(answer.body), [
        'PUT',
        'http://function.test/p?q',
        [
          ['a', '1'],
          ['b', '2'],
        ],
        'hé',
        'value',
      ])
    },
    { env: { KEY: 'value' } },
  )

  withProbe(
    'an answer of bytes, of nothing, and one that is not a promise',
    `({ default: { fetch(request) {
    const path = new URL(request.url).pathname
    return path === '/bytes' ? new Response(new Uint8Array([104, 105])) : path === '/none' ? new Response(null, { status: 204 }) : new Response('plain')
  } } })`,
    async (probe) => {
      assert.equal(await probe.get('/bytes'), 'hi')
      assert.deepEqual(await probe.answer(probe.send('/none')), { status: 204, headers: [], body: '' })
      assert.equal(await probe.get('/plain'), 'plain')
    },
  )

  withProbe(
    'a streamed request body arrives in pieces, with credit for what was read',
    handler(`
    const reader = request.body.getReader()
    const sizes = []
    for (;;) { const { done, value } = await reader.read(); if (done) break; sizes.push(value.length) }
    return new Response(sizes.join())`),
    async (probe) => {
      const event = probe.send('/', { body: 'stream' })
      probe.sandbox.dispatch([Submit.bodyChunk, event, new Uint8Array(1000)])
      await probe.until(() => probe.of(Emit.bodyCredit, event).length === 1)
      probe.sandbox.dispatch([Submit.bodyChunk, event, new Uint8Array(24), Submit.bodyEnd, event])
      assert.equal((await probe.answer(event)).body, '1000,24')
      assert.equal(probe.of(Emit.bodyCredit, event)[0]![2], 1000)
    },
  )

  withProbe(
    'a request body is credited when it is read, not when it arrives',
    handler(`
    if (request.url.endsWith('/go')) { globalThis.go(); return new Response('gone') }
    await new Promise((resolve) => { globalThis.go = resolve })
    return new Response(String((await request.arrayBuffer()).byteLength))`),
    async (probe) => {
      const event = probe.send('/', { body: 'stream' })
      probe.sandbox.dispatch([Submit.bodyChunk, event, new Uint8Array(INITIAL_CREDIT)])
      await probe.until(() => probe.reports.length >= 1)
      assert.equal(probe.of(Emit.bodyCredit, event).length, 0)
      await probe.get('/go')
      await probe.until(() => probe.of(Emit.bodyCredit, event).length > 0)
      probe.sandbox.dispatch([Submit.bodyEnd, event])
      assert.equal((await probe.answer(event)).body, String(INITIAL_CREDIT))
    },
  )

  withProbe(
    'a streamed answer stays within the credit, in pieces where a chunk is larger',
    handler(`
    if (request.url.endsWith('/ping')) return new Response('pong')
    return new Response(new ReadableStream({ pull(c) {
      globalThis.n = (globalThis.n ?? 0) + 1
      c.enqueue(new Uint8Array(300_000).fill(n))
      if (n === 3) c.close()
    } }))`),
    async (probe) => {
      const event = probe.send()
      const sent = () => probe.streamed(event).length
      await probe.until(() => sent() === INITIAL_CREDIT)
      await probe.get('/ping')
      assert.equal(sent(), INITIAL_CREDIT)
      probe.sandbox.dispatch([Submit.credit, event, 1000])
      await probe.until(() => sent() === INITIAL_CREDIT + 1000)
      probe.sandbox.dispatch([Submit.credit, event, 10_000_000])
      await probe.done(event)
      const bytes = probe.streamed(event)
      assert.equal(bytes.length, 900_000)
      assert.deepEqual([bytes[0], bytes[299_999], bytes[300_000], bytes[899_999]], [1, 1, 2, 3])
      assert.equal(probe.of(Emit.end, event).length, 1)
    },
  )

  withProbe(
    'a long answer waits for the client in the isolate: bytes with their length, text unbroken and whatever it says its length is',
    handler(`
    if (request.url.endsWith('/bytes')) return new Response(new Uint8Array(700_000).fill(7))
    return new Response('x' + '\u{1F600}'.repeat(200_000), { headers: { 'content-length': '5' } })`),
    async (probe) => {
      const first = probe.send('/bytes')
      await probe.until(() => probe.streamed(first).length === INITIAL_CREDIT)
      probe.sandbox.dispatch([Submit.credit, first, 10_000_000])
      await probe.done(first)
      assert.equal(probe.streamed(first).length, 700_000)
      const lengthOf = (event: number) => {
        const fields = probe.of(Emit.head, event)[0]![3] as string[]
        return fields.includes('content-length') ? fields[fields.indexOf('content-length') + 1] : undefined
      }
      assert.equal(lengthOf(first), '700000')
      const second = probe.send('/text')
      const text = await probe.answer(second)
      assert.equal(text.body, `x${'\u{1F600}'.repeat(200_000)}`)
      assert.equal(lengthOf(second), undefined)
      for (const [, , chunk] of probe.of(Emit.chunk, second)) assert.ok((chunk as string).isWellFormed())
    },
  )

  withProbe('the request body goes out again as it is', handler('return new Response(request.body)'), async (probe) => {
    const event = probe.send('/', { body: 'stream' })
    probe.sandbox.dispatch([Submit.bodyChunk, event, Buffer.from('one '), Submit.bodyChunk, event, Buffer.from('two')])
    await probe.until(() => probe.streamed(event).length === 7)
    probe.sandbox.dispatch([Submit.bodyEnd, event])
    assert.equal((await probe.answer(event)).body, 'one two')
    await probe.done(event)
    assert.equal(probe.of(Emit.bodyCancel, event).length, 0)
  })

  withProbe(
    'a request body that nobody reads is given up when the event ends',
    handler(`return new Response('no, thanks')`),
    async (probe) => {
      const event = probe.send('/', { body: 'stream' })
      await probe.done(event)
      assert.equal(probe.of(Emit.bodyCancel, event).length, 1)
      probe.sandbox.dispatch([
        Submit.bodyChunk,
        event,
        new Uint8Array(9),
        Submit.bodyEnd,
        event,
        Submit.credit,
        event,
        5,
        Submit.abort,
        event,
        'gone',
      ])
      assert.equal(await probe.get(), 'no, thanks')
    },
  )

  withProbe(
    'a request body that breaks off',
    handler('try { await request.text() } catch (error) { return new Response(error.name + error.message) }'),
    async (probe) => {
      const event = probe.send('/', { body: 'stream' })
      probe.sandbox.dispatch([Submit.bodyChunk, event, new Uint8Array(9), Submit.bodyFailed, event, 'cut'])
      assert.equal((await probe.answer(event)).body, 'TypeErrorcut')
    },
  )

  withProbe(
    'an abort reaches the signal, the stream and the waiting reader',
    handler(`
    request.signal.addEventListener('abort', () => console.log('signal', request.signal.reason.name))
    if (request.url.endsWith('/wait')) { await new Promise((r) => request.signal.addEventListener('abort', r)); return new Response(new ReadableStream({ cancel: (r) => console.log('late cancel', r.name) })) }
    ctx.waitUntil(request.text().catch((error) => console.log('body', error.name)))
    return new Response(new ReadableStream({ pull: (c) => c.enqueue(new Uint8Array(65536)), cancel: (reason) => console.log('cancel', reason.name) }))`),
    async (probe) => {
      const event = probe.send('/', { body: 'stream' })
      await probe.until(() => probe.streamed(event).length === INITIAL_CREDIT)
      probe.sandbox.dispatch([Submit.abort, event, 'The client went away'])
      await probe.done(event)
      assert.deepEqual(probe.logs().sort(), ['info: body AbortError', 'info: cancel AbortError', 'info: signal AbortError'])
      const waiting = probe.send('/wait')
      probe.sandbox.dispatch([Submit.abort, waiting, 'The client went away'])
      await probe.done(waiting)
      assert.ok(probe.logs().includes('info: late cancel AbortError'))
      assert.equal(probe.of(Emit.response, waiting).length + probe.of(Emit.head, waiting).length, 0)
    },
  )

  withProbe(
    'waitUntil keeps the event alive, and its rejections are logged',
    handler(`
    ctx.waitUntil(new Promise((resolve) => { globalThis.finish = resolve }))
    ctx.waitUntil(Promise.reject(new Error('lost')))
    if (request.url.endsWith('/finish')) { finish(); globalThis.first() } else globalThis.first = finish
    return new Response('early')`),
    async (probe) => {
      const event = probe.send()
      assert.equal((await probe.answer(event)).body, 'early')
      await probe.until(() => probe.logs(event).length > 0)
      assert.match(probe.logs(event)[0]!, /^error: Uncaught \(in waitUntil\) Error: lost/)
      assert.equal(probe.of(Emit.done, event).length, 0)
      const second = probe.send('/finish')
      await Promise.all([probe.done(event), probe.done(second)])
    },
  )

  const failures: [string, string, string, RegExp][] = [
    ['throws', `throw new Error('oops')`, 'function_threw', /^oops$/],
    ['throws what is no error', 'throw { a: 1 }', 'function_threw', /a: 1/],
    ['throws null', 'throw null', 'function_threw', /null/],
    [
      'throws what cannot be read',
      'throw new Proxy({}, { get() { throw 1 }, getPrototypeOf() { throw 1 } })',
      'function_threw',
      /./,
    ],
    ['returns nothing', '', 'no_response', /returned nothing/],
    ['returns a string', `return 'text'`, 'no_response', /type string/],
    ['returns what looks like a Response', `return Object.create(Response.prototype)`, 'no_response', /type object/],
    ['returns Response.error()', 'return Response.error()', 'bad_response', /Response.error/],
    ['returns a used body', `const r = new Response('x'); await r.text(); return r`, 'bad_response', /already been used/],
    [
      'returns a locked body',
      `const r = new Response(new ReadableStream()); r.body.getReader(); return r`,
      'bad_response',
      /already been used/,
    ],
    ['overflows the stack', 'const f = () => f() + 1; return f()', 'function_threw', /call stack/],
  ]
  for (const [what, body, code, message] of failures) {
    withProbe(
      `a handler that ${what}`,
      handler(`if (request.url.endsWith('/ok')) return new Response('ok'); ${body}`),
      async (probe) => {
        const event = probe.send()
        await probe.done(event)
        const failed = probe.of(Emit.failed, event)
        assert.equal(failed.length, 1)
        assert.equal(failed[0]![2], code)
        assert.match(failed[0]![3] as string, message)
        assert.equal(await probe.get('/ok'), 'ok')
      },
    )
  }

  withProbe(
    'a streamed answer that breaks off, and one of the wrong chunks',
    handler(`
    const text = request.url.endsWith('/text')
    return new Response(new ReadableStream({ start(c) { c.enqueue(text ? 'words' : new Uint8Array(3)) }, pull(c) { c.error(new Error('cut')) } }, { highWaterMark: 0 }))`),
    async (probe) => {
      const event = probe.send()
      await assert.rejects(probe.answer(event), /broken: cut/)
      assert.equal(probe.streamed(event).length, 3)
      await assert.rejects(probe.answer(probe.send('/text')), /Uint8Array chunks/)
    },
  )

  withProbe(
    'an unhandled rejection is logged and the sandbox goes on',
    handler(`Promise.reject(new TypeError('nobody cares')); return new Response('fine')`),
    async (probe) => {
      assert.equal(await probe.get(), 'fine')
      await probe.until(() => probe.logs().some((line) => /error: Unhandled rejection: .*nobody cares/.test(line)))
      assert.equal(await probe.get(), 'fine')
    },
  )

  withProbe(
    'scheduled events',
    `({ default: { async scheduled(controller, env, ctx) {
    console.log(controller.cron, controller.scheduledTime, typeof ctx.waitUntil)
    if (controller.cron === 'bad') throw new Error('no')
  } } })`,
    async (probe) => {
      const event = probe.schedule('*/5 * * * *', 1_700_000_000_000)
      await probe.done(event)
      assert.deepEqual(probe.logs(event), ['info: */5 * * * * 1700000000000 function'])
      assert.equal(probe.of(Emit.response, event)[0]![2], 204)
      const bad = probe.schedule('bad', 0)
      await assert.rejects(probe.answer(bad), /function_threw: no/)
      await assert.rejects(probe.answer(probe.send()), /no_response: The function has no fetch handler/)
    },
  )

  withProbe(
    '64 events in one batch, and their numbers again',
    handler(`await null; return new Response(request.url + await request.text())`),
    async (probe) => {
      for (const round of ['a', 'b', 'c']) {
        const already = probe.messages.length
        const batch: Batch = []
        for (let event = 1; event <= 64; event++) batch.push(...fetchMessage(event, `/${event}`, { body: round }))
        probe.sandbox.dispatch(batch)
        const fresh = () => probe.messages.slice(already)
        await probe.until(() => fresh().filter(([type]) => type === Emit.done).length === 64)
        const answers = fresh().filter(([type]) => type === Emit.response)
        assert.equal(answers.length, 64)
        for (const [, event, , , body] of answers) assert.equal(body, `http://function.test/${event as number}${round}`)
      }
    },
  )
}
