/** HTTP/2: what a client may not do to a connection, to the process, or to what a function sees. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { MAX_STREAMS, RESET_BURST } from '../host/listener/_limits.ts'
import type { Exchange } from '../host/listener/listener.ts'
import { block, END_HEADERS, END_STREAM, Frame, FrameClient, frameOf, get, uint32 } from './listener/h2-frames.ts'
import { gate, hello, MB, observer, Stage, whyNot } from './listener/stage.ts'

const CANCEL = 8
const NO_ERROR = 0

describe('h2 listener', { skip: whyNot('h2'), concurrency: false, timeout: 120_000 }, () => {
  const stage = new Stage('h2')
  before(() => stage.begin())
  after(() => stage.finish())

  const still = async () => {
    stage.handler = hello
    const client = await FrameClient.open(stage.port)
    client.request(1)
    assert.deepEqual(await client.answer(1), { text: 'hello' })
    client.close()
  }

  describe('a request that is none', () => {
    const pseudo = get()
    const without = (name: string) => pseudo.filter((field) => field[0] !== name)
    // Refused by nghttp2 with a reset of the stream, or by us with a coded answer. `dropped`: nghttp2 leaves the field out.
    const cases: [name: string, fields: [string, string][], outcome: 'reset' | 'Bad Request' | 'hello' | 'dropped'][] = [
      ['a good one', pseudo, 'hello'],
      ['no :method', without(':method'), 'reset'],
      ['no :path', without(':path'), 'reset'],
      ['no :scheme', without(':scheme'), 'reset'],
      ['no authority at all', without(':authority'), 'reset'],
      ['Host for an authority', [...without(':authority'), ['host', 'a.test']], 'hello'],
      ['Host and the same authority', [...pseudo, ['host', 'A.test']], 'hello'],
      ['Host and another authority', [...pseudo, ['host', 'b.test']], 'Bad Request'],
      ['two Hosts', [...pseudo, ['host', 'a.test'], ['host', 'a.test']], 'reset'],
      ['two authorities', [...pseudo.slice(0, 3), [':authority', 'b.test'], ...pseudo.slice(3)], 'reset'],
      ['an authority with a user', [...without(':authority'), [':authority', 'u@a.test']], 'reset'],
      ['an authority with a path', [...without(':authority'), [':authority', 'a.test/x']], 'reset'],
      ['an authority with an empty label', [...without(':authority'), [':authority', 'a..test']], 'Bad Request'],
      ['an empty path', [...without(':path'), [':path', '']], 'reset'],
      ['a path without a slash', [...without(':path'), [':path', 'x']], 'reset'],
      ['a path of *', [...without(':path'), [':path', '*']], 'reset'],
      ['OPTIONS *', [[':method', 'OPTIONS'], ...without(':method').slice(0, 2), [':path', '*']], 'Bad Request'],
      ['a path with a line end', [...without(':path'), [':path', '/ HTTP/1.1\r\nx: y']], 'reset'],
      ['a path with a space', [...without(':path'), [':path', '/a b']], 'reset'],
      ['a path with broken UTF-8', [...without(':path'), [':path', '/\xff']], 'Bad Request'],
      ['an unknown method', [[':method', 'BREW'], ...without(':method')], 'Bad Request'],
      [
        'CONNECT',
        [
          [':method', 'CONNECT'],
          [':authority', 'a.test:80'],
        ],
        'Bad Request',
      ],
      ['extended CONNECT', [[':method', 'CONNECT'], [':protocol', 'websocket'], ...without(':method')], 'reset'],
      ['an unknown pseudo-header', [...pseudo, [':x', '1']], 'reset'],
      ['a pseudo-header behind a field', [['x', '1'], ...pseudo], 'reset'],
      ['a name in upper case', [...pseudo, ['X-A', '1']], 'reset'],
      ['a name with a space', [...pseudo, ['x a', '1']], 'dropped'],
      ['an empty name', [...pseudo, ['', '1']], 'dropped'],
      ['a value with a line end', [...pseudo, ['x', 'a\r\nb: c']], 'dropped'],
      ['a value with a NUL', [...pseudo, ['x', 'a\0b']], 'dropped'],
      ['connection', [...pseudo, ['connection', 'close']], 'reset'],
      ['transfer-encoding', [...pseudo, ['transfer-encoding', 'chunked']], 'reset'],
      ['te: gzip', [...pseudo, ['te', 'gzip']], 'reset'],
      ['te: trailers', [...pseudo, ['te', 'trailers']], 'hello'],
      ['a length that is none', [...pseudo, ['content-length', '-1']], 'reset'],
      ['two lengths', [...pseudo, ['content-length', '0'], ['content-length', '0']], 'reset'],
      ['a length and no body', [...pseudo, ['content-length', '5']], 'reset'],
      [
        '98 fields',
        get(
          '/',
          Array.from({ length: 97 }, (): [string, string] => ['x', '1']),
        ),
        'hello',
      ],
    ]
    for (const [name, fields, outcome] of cases) {
      test(name, async () => {
        let fieldsSeen: string[] = []
        stage.handler = (exchange) => {
          fieldsSeen = exchange.headers
          hello(exchange)
        }
        const client = await FrameClient.open(stage.port)
        client.request(1, fields)
        const answer = await client.answer(1)
        const seen = answer?.reset !== undefined || answer === undefined ? 'reset' : answer.text
        assert.equal(seen, outcome === 'dropped' ? 'hello' : outcome)
        if (outcome === 'dropped') assert.deepEqual(fieldsSeen, ['host', 'a.test'])
        client.close()
        await still()
      })
    }
  })

  test('a body that is longer or shorter than its length never looks whole', async () => {
    for (const [length, body] of [
      ['3', 'hello'],
      ['9', 'hello'],
    ] as const) {
      const events: string[] = []
      const gone = gate()
      stage.handler = (exchange) => {
        exchange.observe(
          observer({
            bodyChunk: (_bytes, last) => last && events.push('whole'),
            bodyFailed: () => events.push('failed'),
            aborted: gone.open,
          }),
        )
        exchange.grant(100)
      }
      const client = await FrameClient.open(stage.port)
      client.request(1, [[':method', 'POST'], ...get().slice(1), ['content-length', length]], END_HEADERS)
      client.send(Frame.DATA, END_STREAM, 1, Buffer.from(body))
      await gone.opened
      assert.deepEqual(events, ['failed'])
      client.close()
    }
  })

  test('too many fields, and too large ones, are answered 431 or end there', async () => {
    stage.handler = hello
    const calls = stage.calls
    for (const fields of [
      Array.from({ length: 120 }, (): [string, string] => ['x', '1']),
      Array.from({ length: 5 }, (): [string, string] => ['x', 'y'.repeat(3_500)]),
      Array.from({ length: 1_000 }, (): [string, string] => ['x', '1']),
      Array.from({ length: 20 }, (): [string, string] => ['x', 'y'.repeat(2_000)]),
    ]) {
      const client = await FrameClient.open(stage.port)
      const bytes = block(get('/', fields))
      const parts = Array.from({ length: Math.ceil(bytes.length / 16_000) }, (_, i) =>
        bytes.subarray(i * 16_000, (i + 1) * 16_000),
      )
      parts.forEach((part, i) => {
        const flags = (i === 0 ? END_STREAM : 0) | (i === parts.length - 1 ? END_HEADERS : 0)
        client.send(i === 0 ? Frame.HEADERS : Frame.CONTINUATION, flags, 1, part)
      })
      const answer = await client.answer(1)
      assert.ok(answer === undefined || answer.reset !== undefined || answer.text === 'Request Header Fields Too Large')
      client.close()
    }
    assert.equal(stage.calls, calls)
    await still()
  })

  test('rapid resets end the connection before they cost much (CVE-2023-44487)', async () => {
    let open = 0
    let most = 0
    stage.handler = (exchange) => {
      most = Math.max(most, ++open)
      exchange.observe(observer({ aborted: () => open-- }))
    }
    const calls = stage.calls
    const client = await FrameClient.open(stage.port)
    for (let i = 0; i < 5_000 && !client.closed; i++) {
      client.socket.write(
        Buffer.concat([
          frameOf(Frame.HEADERS, END_STREAM | END_HEADERS, 2 * i + 1, block(get())),
          frameOf(Frame.RST_STREAM, 0, 2 * i + 1, uint32(CANCEL)),
        ]),
      )
      if (i % 100 === 99) await new Promise((resolve) => setImmediate(resolve))
    }
    assert.notEqual(await client.ended(), NO_ERROR)
    assert.ok(stage.calls - calls <= RESET_BURST + 200, `${stage.calls - calls} requests came through`)
    assert.ok(most <= MAX_STREAMS)
    assert.equal(open, 0)
    await still()
  })

  test('more streams at once than are allowed are refused', async () => {
    const parked: Exchange[] = []
    const full = gate()
    stage.handler = (exchange) => {
      exchange.observe(observer())
      if (parked.push(exchange) === MAX_STREAMS) full.open()
    }
    const client = await FrameClient.open(stage.port)
    await client.until((frame) => frame.type === Frame.SETTINGS && frame.flags === 1)
    for (let i = 0; i < MAX_STREAMS; i++) client.request(2 * i + 1)
    await full.opened
    client.request(2 * MAX_STREAMS + 1)
    const refused = await client.answer(2 * MAX_STREAMS + 1)
    assert.ok(refused === undefined || refused.reset === 7, JSON.stringify(refused))
    assert.equal(parked.length, MAX_STREAMS)
    client.close()
    await still()
  })

  const floods: [name: string, bytes: (i: number) => Buffer][] = [
    ['SETTINGS', () => frameOf(Frame.SETTINGS, 0, 0, Buffer.alloc(0))],
    [
      'SETTINGS with many entries',
      () => frameOf(Frame.SETTINGS, 0, 0, Buffer.alloc(6 * 2_000, Buffer.from([0, 3, 0, 0, 0, 100]))),
    ],
    ['PING', () => frameOf(Frame.PING, 0, 0, Buffer.alloc(8))],
    [
      'empty DATA',
      (i) =>
        i === 0
          ? frameOf(Frame.HEADERS, END_HEADERS, 1, block([[':method', 'POST'], ...get().slice(1)]))
          : frameOf(Frame.DATA, 0, 1, Buffer.alloc(0)),
    ],
    ['CONTINUATION', (i) => frameOf(i === 0 ? Frame.HEADERS : Frame.CONTINUATION, 0, 1, block(i === 0 ? get() : [['x', 'y']]))],
    [
      'CONTINUATION without bytes',
      (i) => frameOf(i === 0 ? Frame.HEADERS : Frame.CONTINUATION, 0, 1, i === 0 ? block(get()) : Buffer.alloc(0)),
    ],
    ['WINDOW_UPDATE of nothing', () => frameOf(Frame.WINDOW_UPDATE, 0, 1, uint32(0))],
    ['RST_STREAM of streams that never were', (i) => frameOf(Frame.RST_STREAM, 0, 2 * i + 1, uint32(CANCEL))],
    ['frames of types that nobody knows', () => frameOf(99, 0, 0, Buffer.alloc(100))],
    ['dependencies on itself', (i) => frameOf(2, 0, 2 * i + 1, Buffer.from([0, 0, 0, 1, 16]))],
  ]
  for (const [name, bytes] of floods) {
    test(`a flood of ${name} neither hangs nor fills the process`, async () => {
      stage.handler = (exchange) => exchange.observe(observer())
      const client = await FrameClient.open(stage.port)
      // It reads nothing: acknowledgements would have to be kept.
      client.socket.pause()
      const before = process.memoryUsage.rss()
      for (let i = 0; i < 20_000 && !client.closed; i++) {
        if (!client.socket.write(bytes(i))) {
          await Promise.race([
            new Promise((resolve) => client.socket.once('drain', resolve)),
            new Promise((resolve) => client.socket.once('close', resolve)),
            new Promise((resolve) => setTimeout(resolve, 500)),
          ])
        }
        if (i % 100 === 0) await new Promise((resolve) => setImmediate(resolve))
      }
      assert.ok(process.memoryUsage.rss() - before < 100 * MB)
      await still()
      client.close()
    })
  }

  test('a large answer to a client that gives no window is not kept in memory, and goes on when there is one', async () => {
    const total = 60 * MB
    const chunk = Buffer.alloc(256 * 1024, 7)
    const blocked = gate<number>()
    stage.handler = (exchange) => {
      let written = 0
      const more = (): void => {
        while (written < total) {
          written += chunk.length
          if (!exchange.write(chunk)) return blocked.open(written)
        }
        exchange.end()
      }
      exchange.observe(observer({ drained: more }))
      exchange.start(200, [])
      more()
    }
    const client = await FrameClient.open(stage.port, [[4, 1_000]])
    client.request(1)
    assert.ok((await blocked.opened) < 2 * MB)
    assert.equal(
      client.frames.some((frame) => frame.type === Frame.DATA && frame.payload.length > 1_000),
      false,
    )
    client.send(Frame.WINDOW_UPDATE, 0, 0, uint32(2 ** 30))
    client.send(Frame.WINDOW_UPDATE, 0, 1, uint32(2 ** 30))
    const answer = await client.answer(1)
    assert.ok(answer!.text!.length >= total)
    client.close()
  })

  test('a body that nobody reads stops at its window, and others of the connection go on', async () => {
    const there = gate<Exchange>()
    stage.handler = (exchange) => {
      if (exchange.bodyLength === 0) return hello(exchange)
      exchange.observe(observer())
      there.open(exchange)
    }
    const client = await FrameClient.open(stage.port)
    client.request(1, [[':method', 'POST'], ...get().slice(1)], END_HEADERS)
    const exchange = await there.opened
    for (let i = 0; i < 4; i++) client.send(Frame.DATA, 0, 1, Buffer.alloc(16_000))
    client.request(3)
    assert.deepEqual(await client.answer(3), { text: 'hello' })
    assert.equal(
      client.frames.some((frame) => frame.type === Frame.WINDOW_UPDATE && frame.stream === 1),
      false,
    )
    // An answer before its end: what is left is not wanted, and the connection goes on.
    exchange.respond(413, ['skep-error', 'body_too_large'], 'Content Too Large')
    assert.deepEqual(await client.answer(1), { text: 'Content Too Large' })
    await client.until((frame) => frame.type === Frame.RST_STREAM && frame.stream === 1)
    client.request(5)
    assert.deepEqual(await client.answer(5), { text: 'hello' })
    client.close()
  })

  test('clients that dawdle are cut: no request, no body, no window', async () => {
    const own = await stage.serve({ limits: { maxConnections: 100, idleMs: 3_000 } })
    const aborted: string[] = []
    stage.handler = (exchange) => {
      exchange.observe(observer({ aborted: () => aborted.push(exchange.url) }))
      exchange.grant(MB)
      if (exchange.bodyLength === 0) exchange.respond(200, [], Buffer.alloc(MB))
    }
    const post: [string, string][] = [[':method', 'POST'], ...get('/body').slice(1)]
    const silent = await FrameClient.open(own.port)
    const body = await FrameClient.open(own.port)
    body.request(1, post, END_HEADERS)
    body.send(Frame.DATA, 0, 1, Buffer.from('a'))
    const window = await FrameClient.open(own.port, [[4, 0]])
    window.request(1, get('/window'))
    const drip = setInterval(() => {
      body.send(Frame.DATA, 0, 1, Buffer.from('a'))
      for (const client of [silent, window]) client.send(Frame.PING, 0, 0, Buffer.alloc(8))
    }, 500)
    assert.ok((await body.answer(1))!.reset !== undefined)
    assert.ok((await window.answer(1))!.reset !== undefined)
    // Then those, too, have nothing to do any more.
    assert.deepEqual(await Promise.all([silent, body, window].map((client) => client.ended())), [NO_ERROR, NO_ERROR, NO_ERROR])
    clearInterval(drip)
    assert.deepEqual(aborted.toSorted(), ['https://a.test/body', 'https://a.test/window'])
    await own.close(0)
  })

  test('close: what is in flight ends, what comes meanwhile is answered, and then the connection ends', async () => {
    const own = await stage.serve()
    const there = gate<Exchange>()
    stage.handler = (exchange) => {
      if (exchange.url.endsWith('/late')) return hello(exchange)
      exchange.observe(observer())
      there.open(exchange)
    }
    const client = await FrameClient.open(own.port)
    client.request(1)
    const exchange = await there.opened
    const closed = own.close()
    client.request(3, get('/late'))
    assert.deepEqual(await client.answer(3), { text: 'hello' })
    const goaway = await client.until((frame) => frame.type === Frame.GOAWAY)
    assert.deepEqual([goaway!.payload.readUInt32BE(0), goaway!.payload.readUInt32BE(4)], [3, NO_ERROR])
    exchange.respond(200, [], 'done')
    assert.deepEqual(await client.answer(1), { text: 'done' })
    await closed
    assert.equal(await client.ended(), NO_ERROR)
  })

  test('frames that are no HTTP/2 end the connection and nothing else', async () => {
    stage.handler = hello
    const calls = stage.calls
    const headers = frameOf(Frame.HEADERS, END_STREAM | END_HEADERS, 1, block(get()))
    for (const bytes of [
      Buffer.from('GET / HTTP/1.1\r\nHost: a.test\r\n\r\n'),
      Buffer.alloc(10_000, 0xff),
      frameOf(Frame.DATA, 0, 0, Buffer.from('x')),
      // The stream's error comes before anybody has been told of the stream.
      Buffer.concat([headers, frameOf(Frame.DATA, 0, 0, Buffer.from('x'))]),
      frameOf(Frame.HEADERS, END_STREAM | END_HEADERS, 2, block(get())),
      frameOf(Frame.HEADERS, END_STREAM | END_HEADERS, 1, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff])),
      frameOf(Frame.CONTINUATION, END_HEADERS, 1, block(get())),
      frameOf(Frame.SETTINGS, 0, 0, Buffer.from([0])),
      frameOf(Frame.WINDOW_UPDATE, 0, 0, uint32(0)),
      Buffer.concat([headers.subarray(0, headers.length - 4), frameOf(Frame.PING, 0, 0, Buffer.alloc(8)), Buffer.alloc(64)]),
    ]) {
      const client = await FrameClient.open(stage.port)
      client.socket.write(bytes)
      assert.notEqual(await client.ended(), NO_ERROR)
    }
    assert.ok(stage.calls - calls <= 1)
    await still()
  })
})
