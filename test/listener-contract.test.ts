/** One suite over both listeners. Where uWebSockets cannot do what node:http does, the difference is pinned here. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { SkepError } from '../host/errors.ts'
import { headText, ownHeaders } from '../host/listener/_headers.ts'
import { checkPort } from '../host/listener/_ports.ts'
import { listenNode } from '../host/listener/node.ts'
import { loadUws } from '../host/listener/uws-binary.ts'
import { listenUws } from '../host/listener/uws.ts'
import type { Exchange, ExchangeObserver, Listener, ListenOptions } from '../host/listener/listener.ts'
import { ask, Client, get } from './listener-client.ts'

type Handler = (exchange: Exchange) => void

const MB = 1024 * 1024
const load = loadUws()
const required = process.env['SKEP_REQUIRE_SERVICES'] === '1' && process.platform === 'linux' && process.arch === 'x64'
if (load.uws === undefined && required) throw new Error(`uWebSockets.js must load here: ${load.reason}`)

function observer(part: Partial<ExchangeObserver> = {}): ExchangeObserver {
  return { bodyChunk() {}, bodyFailed() {}, drained() {}, aborted() {}, ...part }
}

/** Answers on a later turn of the loop, as a host does. */
function later(run: Handler): Handler {
  return (exchange) => {
    exchange.observe(observer())
    setImmediate(() => run(exchange))
  }
}

function collect(exchange: Exchange, credit = Infinity): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = []
    exchange.observe(
      observer({
        bodyChunk(bytes, last) {
          chunks.push(bytes)
          if (last) resolve(Buffer.concat(chunks))
          else if (credit !== Infinity) setImmediate(() => exchange.grant(bytes.length))
        },
        bodyFailed: (reason) => reject(new Error(reason)),
      }),
    )
    exchange.grant(credit)
  })
}

function gate<T = void>(): { opened: Promise<T>; open: (value: T) => void } {
  const { promise, resolve } = Promise.withResolvers<T>()
  return { opened: promise, open: resolve }
}

const hello: Handler = (exchange) => exchange.respond(200, ['x-from', 'skep'], 'hello')

const kinds = {
  uws: (options: ListenOptions) => listenUws(load.uws!, options),
  node: listenNode,
}

for (const kind of ['uws', 'node'] as const) {
  const skip = kind === 'uws' && load.uws === undefined ? load.reason : false
  describe(`${kind} listener`, { skip, concurrency: false, timeout: 120_000 }, () => {
    let handler: Handler = hello
    let calls = 0
    let listener: Listener
    const serve = (options: Partial<ListenOptions> = {}): Promise<Listener> =>
      kinds[kind]({ port: 0, address: '127.0.0.1', handler: (exchange) => handler(exchange), ...options })

    before(async () => {
      listener = await serve({
        handler(exchange) {
          calls++
          handler(exchange)
        },
      })
    })
    after(() => listener.close(0))

    test('tells what was asked, and answers', async () => {
      let seen: Exchange | undefined
      let from = ''
      handler = (exchange) => {
        seen = exchange
        from = exchange.remoteAddress
        later(hello)(exchange)
      }
      const { port } = listener
      const request = `GET /a/b?c=d HTTP/1.1\r\nHost: Hello.Localhost.:${port}\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nX-A: 1\r\nX-A: 2\r\n\r\n`
      const answer = await ask(port, request)
      assert.equal(seen!.method, 'GET')
      assert.equal(seen!.url, `http://hello.localhost:${port}/a/b?c=d`)
      assert.equal(seen!.hostname, 'hello.localhost')
      assert.equal(seen!.bodyLength, 0)
      assert.equal(from, '127.0.0.1')
      assert.deepEqual(seen!.headers, ['host', `Hello.Localhost.:${port}`, 'x-a', '1', 'x-a', '2'])
      assert.equal(answer.statusLine, 'HTTP/1.1 200 OK')
      assert.equal(answer.body.toString(), 'hello')
      assert.deepEqual(answer.headers.get('x-from'), ['skep'])
      assert.ok(Math.abs(Date.parse(answer.headers.get('date')![0]!) - Date.now()) < 60_000)
      assert.equal(answer.headers.has('uwebsockets'), false)
    })

    test('makes a URL of any target', async () => {
      let url = ''
      handler = (exchange) => {
        url = exchange.url
        hello(exchange)
      }
      const cases: [string, string][] = [
        ['/?', '/?'],
        ['/%20%zz//../x', '/%20%zz//../x'],
        ['/"<>`{}|^\\#', '/%22%3C%3E%60%7B%7D%7C%5E%5C%23'],
      ]
      for (const [target, path] of cases) {
        url = ''
        await ask(listener.port, get(target))
        assert.equal(url, `http://a.test${path}`, target)
      }
      const raw = await ask(listener.port, get(Buffer.from('/é?ü=☃').toString('latin1')))
      if (kind === 'node') return assert.equal(raw.status, 400)
      assert.equal(url, 'http://a.test/%C3%A9?%C3%BC=%E2%98%83')
    })

    describe('refuses, without calling the handler,', () => {
      const post = (headers: string, body = ''): string => `POST / HTTP/1.1\r\nHost: a\r\n${headers}\r\n\r\n${body}`
      // uWebSockets answers what its parser refuses by itself: the status is its own, and there is no code.
      type Case = [name: string, request: string, uws: 400 | 431 | 505 | 'coded', node?: 400 | 431]
      const cases: Case[] = [
        ['a line that is no request', 'hello there\r\n\r\n', 505],
        ['an unknown method', 'BREW / HTTP/1.1\r\nHost: a\r\n\r\n', 'coded'],
        ['a method in lower case', 'get / HTTP/1.1\r\nHost: a\r\n\r\n', 'coded'],
        ['another version', 'GET / HTTP/3.0\r\nHost: a\r\n\r\n', 505],
        ['no Host', 'GET / HTTP/1.1\r\nX-A: 1\r\n\r\n', 400],
        ['two Hosts', 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 400],
        ['an empty Host', 'GET / HTTP/1.1\r\nHost:\r\nX-A: 1\r\n\r\n', 'coded'],
        ['a Host with a path', 'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n', 'coded'],
        ['a Host with a user', 'GET / HTTP/1.1\r\nHost: a@b\r\n\r\n', 'coded'],
        ['a Host with a bad port', 'GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n', 'coded'],
        ['a target that is no UTF-8', get('/\xff'), 'coded'],
        ['OPTIONS *', 'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n', 505],
        ['CONNECT', 'CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n', 505],
        ['a space before a colon', 'GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n', 400],
        ['a NUL in a value', 'GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n', 400],
        ['a folded header', 'GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n', 400],
        ['both framings', post('Content-Length: 5\r\nTransfer-Encoding: chunked', '0\r\n\r\n'), 400],
        ['two lengths', post('Content-Length: 5\r\nContent-Length: 5', 'hello'), 'coded'],
        ['a list of lengths', post('Content-Length: 5, 5', 'hello'), 400],
        ['a negative length', post('Content-Length: -5', 'hello'), 400],
        ['an empty length', post('Content-Length:\r\nX-A: 1', 'hello'), 'coded'],
        ['an encoding that is not chunked', post('Transfer-Encoding: gzip', '0\r\n\r\n'), 'coded'],
        ['a disguised encoding', post('Transfer-Encoding: xchunked', '0\r\n\r\n'), 'coded'],
        ['two encodings', post('Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked', '0\r\n\r\n'), 'coded'],
        ['20 kB of headers', get('/', `X: ${'x'.repeat(20_000)}\r\n`), 431, 431],
        ['120 headers', get('/', 'X: 1\r\n'.repeat(120)), 431, 431],
      ]
      for (const [name, request, uws, node = 400] of cases) {
        test(name, async () => {
          handler = hello
          calls = 0
          const client = await Client.open(listener.port)
          // What follows must not be served either: it may be the body of what was not understood.
          client.send(request + (kind === 'node' || uws !== 'coded' ? get('/smuggled') : ''))
          const answer = await client.answer()
          await client.closed()
          assert.equal(calls, 0)
          assert.equal(client.received.length, 0)
          if (kind === 'uws' && uws !== 'coded') return assert.equal(answer!.status, uws)
          assert.equal(answer!.status, kind === 'uws' ? 400 : node)
          const code = answer!.status === 431 ? 'headers_too_large' : 'bad_request'
          assert.deepEqual(answer!.headers.get('skep-error'), [code])
          assert.equal(answer!.body.toString(), answer!.status === 431 ? 'Request Header Fields Too Large' : 'Bad Request')
        })
      }

      test('a request smuggled behind bad framing', async () => {
        handler = hello
        calls = 0
        const client = await Client.open(listener.port)
        client.send(post('Content-Length: 0\r\nContent-Length: 5', get('/smuggled')))
        await client.answer()
        await client.closed()
        assert.equal(calls, 0)
      })
    })

    test('15 kB of headers pass', async () => {
      let length = 0
      handler = (exchange) => {
        length = exchange.headers[3]!.length
        hello(exchange)
      }
      assert.equal((await ask(listener.port, get('/', `X: ${'x'.repeat(15_000)}\r\n`))).status, 200)
      assert.equal(length, 15_000)
    })

    test('HTTP/1.0 and absolute targets: node:http serves them, uWebSockets answers 505', async () => {
      let url = ''
      handler = later((exchange) => {
        url = exchange.url
        exchange.start(200, [])
        exchange.write('hello')
        exchange.end()
      })
      const old = await ask(listener.port, 'GET /old HTTP/1.0\r\nHost: a.test\r\n\r\n')
      const absolute = await ask(listener.port, 'GET http://B.test:81/x HTTP/1.1\r\nHost: a.test\r\n\r\n')
      if (kind === 'uws') return assert.deepEqual([old.status, absolute.status], [505, 505])
      assert.equal(old.body.toString(), 'hello')
      assert.equal(old.headers.has('transfer-encoding'), false)
      assert.deepEqual(old.headers.get('connection'), ['close'])
      assert.equal(url, 'http://b.test:81/x')
    })

    test('HEAD, 204, 205 and 304 have no body', async () => {
      handler = later((exchange) => exchange.respond(200, [], 'hello'))
      const client = await Client.open(listener.port)
      const head = 'HEAD / HTTP/1.1\r\nHost: a\r\n\r\n'
      client.send(head)
      assert.deepEqual((await client.answer({ head: true }))!.headers.get('content-length'), ['5'])
      handler = later((exchange) => exchange.respond(200, ['content-length', '1234']))
      client.send(head)
      assert.deepEqual((await client.answer({ head: true }))!.headers.get('content-length'), ['1234'])
      for (const streamed of [false, true]) {
        for (const status of [204, 205, 304]) {
          handler = later((exchange) => {
            if (!streamed) return exchange.respond(status, [], 'not sent')
            exchange.start(status, [])
            exchange.write('not sent')
            exchange.end()
          })
          client.send(get())
          const answer = await client.answer()
          assert.equal(answer!.status, status)
          assert.equal(answer!.body.length, 0)
          assert.deepEqual(answer!.headers.get('content-length'), status === 205 ? ['0'] : undefined)
        }
      }
      handler = hello
      client.send(get())
      assert.equal((await client.answer())!.body.toString(), 'hello')
      client.socket.destroy()
    })

    test('an upgrade is a plain request, and Connection: close is kept', async () => {
      handler = later(hello)
      const client = await Client.open(listener.port)
      client.send(get('/', 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\n'))
      assert.equal((await client.answer())!.status, 200)
      client.send(get('/', 'Connection: close\r\n'))
      assert.deepEqual((await client.answer())!.headers.get('connection'), ['close'])
      await client.closed()
    })

    test('no header can end its line', async () => {
      const bad: [number, string[]][] = [
        [200, ['x', 'a\r\nb: c']],
        [200, ['x', 'a\nb']],
        [200, ['x', 'a\0']],
        [200, ['x\r\ny', 'a']],
        [200, ['x:', 'a']],
        [200, ['', 'a']],
        [200, ['x', 'snow ☃']],
        [200, ['x']],
        [101, []],
        [99.5, []],
        [1000, []],
      ]
      for (const [status, headers] of bad) {
        assert.throws(() => headText(status, headers), TypeError)
        assert.throws(() => ownHeaders(status, headers), TypeError)
        handler = later((exchange) => {
          assert.throws(() => exchange.respond(status, headers, 'x'), TypeError)
          assert.throws(() => exchange.start(status, headers), TypeError)
          exchange.respond(500, ['skep-error', 'bad_response'], 'Internal Server Error')
        })
        assert.deepEqual((await ask(listener.port, get())).headers.get('skep-error'), ['bad_response'])
      }
    })

    test("cookies stay apart, values are bytes, framing is the listener's", async () => {
      const headers = [
        'set-cookie',
        'a=1',
        'set-cookie',
        'b=2',
        'x',
        'caf\xe9',
        'transfer-encoding',
        'gzip',
        'content-length',
        '99',
        'connection',
        'close',
        'date',
        'x',
      ]
      for (const streamed of [false, true]) {
        handler = later((exchange) => {
          if (!streamed) return exchange.respond(200, headers, 'hello')
          exchange.start(200, headers)
          exchange.write('hel')
          exchange.write('lo')
          exchange.end()
        })
        const answer = await ask(listener.port, get())
        assert.deepEqual(answer.headers.get('set-cookie'), ['a=1', 'b=2'])
        assert.deepEqual(answer.headers.get('x'), ['caf\xe9'])
        assert.equal(answer.headers.get('date')!.length, 1)
        assert.deepEqual(answer.headers.get('content-length'), streamed ? undefined : ['5'])
        assert.equal(answer.body.toString(), 'hello')
      }
    })

    test('a handler that throws is answered 500', async (t) => {
      t.mock.method(console, 'error', () => {})
      handler = () => {
        throw new Error('on purpose')
      }
      assert.deepEqual((await ask(listener.port, get())).headers.get('skep-error'), ['internal'])
    })

    test('answers of many requests on one connection come in order', async () => {
      handler = (exchange) => exchange.respond(200, [], exchange.url)
      const client = await Client.open(listener.port)
      client.send(Array.from({ length: 100 }, (_, i) => get(`/${i}`)).join(''))
      for (let i = 0; i < 100; i++) assert.equal((await client.answer())!.body.toString(), `http://a.test/${i}`)
      client.socket.destroy()
    })

    test('a request sent before the answer: node:http keeps it, uWebSockets cuts the connection', async () => {
      const cut = gate()
      handler = (exchange) => {
        exchange.observe(observer({ aborted: cut.open }))
        setImmediate(() => exchange.respond(200, [], exchange.url))
      }
      calls = 0
      const client = await Client.open(listener.port)
      client.send(get('/1') + get('/2'))
      if (kind === 'uws') {
        await cut.opened
        assert.equal(await client.answer(), undefined)
        assert.equal(calls, 1)
      } else {
        assert.equal((await client.answer())!.body.toString(), 'http://a.test/1')
        assert.equal((await client.answer())!.body.toString(), 'http://a.test/2')
      }
      client.socket.destroy()
    })

    test('1,000 requests at once', async () => {
      handler = later((exchange) => exchange.respond(200, [], exchange.url))
      const bodies = await Promise.all(
        Array.from({ length: 1000 }, async (_, i) => (await ask(listener.port, get(`/${i}`))).body.toString()),
      )
      bodies.forEach((body, i) => assert.equal(body, `http://a.test/${i}`))
    })

    test('bodies come through byte by byte, with a length and chunked', async () => {
      const body = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 7) % 256))
      for (const credit of [Infinity, 10_000]) {
        handler = (exchange) => {
          const length = exchange.bodyLength
          collect(exchange, credit).then((bytes) => exchange.respond(200, ['x-length', String(length)], bytes))
        }
        const client = await Client.open(listener.port)
        client.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n`)
        client.send(body)
        const known = await client.answer()
        assert.deepEqual(known!.headers.get('x-length'), [String(body.length)])
        assert.ok(known!.body.equals(body))
        client.send('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n')
        for (let at = 0; at < body.length; at += 50_000) {
          const chunk = body.subarray(at, at + 50_000)
          client.send(`${chunk.length.toString(16)}\r\n`)
          client.send(chunk)
          client.send('\r\n')
        }
        client.send('0\r\n\r\n')
        const chunked = await client.answer()
        assert.deepEqual(chunked!.headers.get('x-length'), ['-1'])
        assert.ok(chunked!.body.equals(body))
        client.socket.destroy()
      }
    })

    test('a chunk extension: node:http passes over it, uWebSockets takes it for a bad size', async () => {
      handler = (exchange) => {
        collect(exchange).then(
          (bytes) => exchange.respond(200, [], bytes),
          () => {},
        )
      }
      const answer = await ask(
        listener.port,
        'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\n\r\n',
      )
      assert.equal(answer.status, kind === 'uws' ? 400 : 200)
    })

    test('nothing of a body comes before it is granted', async () => {
      let chunks = 0
      const there = gate<Exchange>()
      const done = gate()
      handler = (exchange) => {
        exchange.observe(observer({ bodyChunk: (_bytes, last) => (chunks++, last && done.open()) }))
        there.open(exchange)
      }
      const client = await Client.open(listener.port)
      client.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello')
      const exchange = await there.opened
      handler = hello
      await ask(listener.port, get('/barrier'))
      assert.equal(chunks, 0)
      exchange.grant(5)
      await done.opened
      exchange.respond(200, [], '')
      assert.equal((await client.answer())!.status, 200)
      client.socket.destroy()
    })

    test('Expect: 100-continue', async () => {
      handler = (exchange) => {
        collect(exchange).then((bytes) => exchange.respond(200, [], bytes))
      }
      const client = await Client.open(listener.port)
      client.send('POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n')
      assert.equal((await client.answer())!.status, 100)
      client.send('hello')
      assert.equal((await client.answer())!.body.toString(), 'hello')
      client.socket.destroy()
    })

    test('a body that breaks off, or is framed wrongly, is told once', async () => {
      for (const rest of ['', 'zz\r\n']) {
        const events: string[] = []
        const gone = gate()
        const there = gate()
        handler = (exchange) => {
          exchange.observe(
            observer({
              bodyFailed: () => events.push('failed'),
              aborted: () => (events.push('aborted'), gone.open()),
            }),
          )
          exchange.grant(MB)
          there.open()
        }
        const client = await Client.open(listener.port)
        client.send('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n')
        await there.opened
        if (rest === '') client.socket.destroy()
        else client.send(rest)
        await gone.opened
        await client.closed()
        assert.deepEqual(events, ['failed', 'aborted'])
      }
    })

    test('an answer before the end of the body reaches the client; endless bodies are cut', async () => {
      handler = later((exchange) => exchange.respond(413, ['skep-error', 'body_too_large'], 'Content Too Large'))
      const client = await Client.open(listener.port)
      client.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n')
      client.send(Buffer.alloc(100_000))
      assert.equal((await client.answer())!.status, 413)
      client.send(Buffer.alloc(100_000))
      client.send(get())
      assert.equal((await client.answer())!.status, 413)
      client.send('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n')
      assert.equal((await client.answer())!.status, 413)
      const chunk = Buffer.concat([Buffer.from('10000\r\n'), Buffer.alloc(65_536), Buffer.from('\r\n')])
      let sent = 0
      const closed = client.closed()
      while (!client.socket.destroyed && sent < 100 * MB) {
        sent += chunk.length
        if (!client.socket.write(chunk))
          await Promise.race([closed, new Promise((resolve) => client.socket.once('drain', resolve))])
      }
      await closed
      assert.ok(sent < 50 * MB, `${sent} bytes were taken`)
    })

    test('a large answer to a client that is slow to read is not kept in memory', async () => {
      const total = 200 * MB
      const chunk = Buffer.alloc(256 * 1024, 7)
      const blocked = gate<number>()
      handler = (exchange) => {
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
      const client = await Client.open(listener.port)
      client.socket.removeAllListeners('data')
      client.socket.pause()
      client.send(get())
      const before = process.memoryUsage.rss()
      assert.ok((await blocked.opened) < 20 * MB)
      let received = 0
      let peak = 0
      let tail = ''
      client.socket.on('data', (bytes) => {
        received += bytes.length
        tail = (tail + bytes.toString('latin1', Math.max(0, bytes.length - 7))).slice(-7)
        peak = Math.max(peak, process.memoryUsage.rss())
        if (received >= total && tail === '\r\n0\r\n\r\n') client.socket.destroy()
      })
      client.socket.resume()
      await client.closed()
      assert.ok(received > total)
      assert.ok(peak - before < 80 * MB, `${Math.round((peak - before) / MB)} MB more`)
    })

    test('a large answer given whole arrives whole', async () => {
      const body = Buffer.alloc(30 * MB, 'abcdefg')
      handler = later((exchange) => exchange.respond(200, [], body))
      const client = await Client.open(listener.port)
      const chunks: Buffer[] = []
      client.socket.removeAllListeners('data')
      client.socket.on('data', (bytes) => chunks.push(bytes))
      client.send(get('/', 'Connection: close\r\n'))
      await client.closed()
      const all = Buffer.concat(chunks)
      assert.ok(all.subarray(all.indexOf('\r\n\r\n') + 4).equals(body))
    })

    test('a large upload to a consumer that is slow to take it is not kept in memory', async () => {
      const total = 90 * MB
      let peak = 0
      handler = (exchange) => {
        let seen = 0
        exchange.observe(
          observer({
            bodyChunk(bytes, last) {
              seen += bytes.length
              peak = Math.max(peak, process.memoryUsage.rss())
              if (last) exchange.respond(200, [], String(seen))
              else setImmediate(() => exchange.grant(bytes.length))
            },
          }),
        )
        exchange.grant(65_536)
      }
      const client = await Client.open(listener.port)
      const before = process.memoryUsage.rss()
      client.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${total}\r\n\r\n`)
      const chunk = Buffer.alloc(MB)
      for (let sent = 0; sent < total; sent += chunk.length) {
        if (!client.socket.write(chunk)) await new Promise((resolve) => client.socket.once('drain', resolve))
      }
      assert.equal((await client.answer())!.body.toString(), String(total))
      assert.ok(peak - before < 80 * MB, `${Math.round((peak - before) / MB)} MB more`)
      client.socket.destroy()
    })

    test('a client that goes away is told of once, while waiting and while streaming', async () => {
      for (const streaming of [false, true]) {
        let aborted = 0
        const there = gate()
        const gone = gate<Exchange>()
        handler = (exchange) => {
          exchange.observe(observer({ aborted: () => (aborted++, gone.open(exchange)) }))
          if (streaming) {
            exchange.start(200, [])
            exchange.write('part')
          }
          there.open()
        }
        const client = await Client.open(listener.port)
        client.send(get())
        await there.opened
        client.socket.destroy()
        const exchange = await gone.opened
        exchange.respond(200, [], 'ignored')
        assert.equal(exchange.write('ignored'), false)
        exchange.end()
        exchange.abort()
        handler = hello
        await ask(listener.port, get('/barrier'))
        assert.equal(aborted, 1)
      }
    })

    test('abort cuts, so that the client sees a broken answer', async () => {
      let aborted = 0
      handler = (exchange) => {
        exchange.observe(observer({ aborted: () => aborted++ }))
        exchange.start(200, [])
        exchange.write('part')
        setImmediate(() => exchange.abort())
      }
      const answer = await ask(listener.port, get())
      assert.equal(answer.body.toString(), 'part')
      assert.equal(answer.whole, false)
      assert.equal(aborted, 0)
    })

    test('close: what is in flight is answered whole, then everything is shut', async () => {
      const own = await serve()
      const parked: Exchange[] = []
      const all = gate()
      handler = (exchange) => {
        if (exchange.url.endsWith('/stream')) {
          exchange.observe(observer())
          exchange.start(200, [])
          exchange.write('first,')
          parked.push(exchange)
        } else if (exchange.bodyLength > 0) {
          collect(exchange).then((bytes) => exchange.respond(200, [], bytes))
          parked.push(exchange)
        } else if (exchange.url.endsWith('/idle')) {
          hello(exchange)
        } else {
          exchange.observe(observer())
          parked.push(exchange)
        }
        if (parked.length === 4) all.open()
      }
      const [idle, waits, large, streams, uploads] = await Promise.all(Array.from({ length: 5 }, () => Client.open(own.port)))
      idle!.send(get('/idle'))
      await idle!.answer()
      waits!.send(get('/waits'))
      large!.send(get('/large'))
      streams!.send(get('/stream'))
      uploads!.send('POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello')
      await all.opened
      const closed = own.close()
      assert.equal(own.close(), closed)
      await assert.rejects(async () => {
        // The socket is closed a turn later.
        for (;;) (await Client.open(own.port)).socket.destroy()
      }, /ECONNREFUSED|ECONNRESET/)
      uploads!.send('world')
      assert.equal((await uploads!.answer())!.body.toString(), 'helloworld')
      parked.find((x) => x.url.endsWith('/waits'))!.respond(200, [], 'done')
      const last = await waits!.answer()
      assert.equal(last!.body.toString(), 'done')
      assert.deepEqual(last!.headers.get('connection'), ['close'])
      parked.find((x) => x.url.endsWith('/large'))!.respond(200, [], Buffer.alloc(8 * MB))
      assert.equal((await large!.answer())!.body.length, 8 * MB)
      const stream = parked.find((x) => x.url.endsWith('/stream'))!
      stream.write('second')
      stream.end()
      assert.equal((await streams!.answer())!.body.toString(), 'first,second')
      await closed
      await Promise.all([idle, waits, large, streams, uploads].map((client) => client!.closed()))
    })

    test('close: a keep-alive connection that was idle gets one more answer, and is told that it was the last', async () => {
      const own = await serve()
      handler = hello
      const client = await Client.open(own.port)
      client.send(get())
      assert.notDeepEqual((await client.answer())!.headers.get('connection'), ['close'])
      const closed = own.close()
      // By now the drain has looked for requests in flight, and found none.
      for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
      client.send(get())
      const last = await client.answer()
      assert.equal(last!.status, 200)
      assert.deepEqual(last!.headers.get('connection'), ['close'])
      await client.closed()
      await closed
    })

    test('close: a young connection gets its first request answered, a late one is cut', async () => {
      const own = await serve()
      handler = hello
      const young = await Client.open(own.port)
      const closed = own.close()
      young.send(get())
      const answer = await young.answer()
      assert.equal(answer!.status, 200)
      assert.deepEqual(answer!.headers.get('connection'), ['close'])
      await closed

      const other = await serve()
      const there = gate()
      const gone = gate()
      handler = (exchange) => {
        exchange.observe(observer({ aborted: gone.open }))
        there.open()
      }
      const stuck = await Client.open(other.port)
      stuck.send(get())
      await there.opened
      await other.close(50)
      await gone.opened
      await stuck.closed()
    })

    test('a port is exclusive unless it is shared', async () => {
      const inUse = (error: SkepError): boolean => error.code === 'port_in_use' && error.message.includes(String(listener.port))
      await assert.rejects(serve({ port: listener.port }), inUse)
      await assert.rejects(serve({ port: listener.port, shared: true }), inUse)
      await assert.rejects(checkPort({ port: listener.port, address: '127.0.0.1', shared: false }), inUse)
      await assert.rejects(serve({ address: '192.0.2.1' }), (error: SkepError) => error.code === 'invalid_config')
      const free = await serve()
      const { port } = free
      await free.close(0)
      const pair = [await serve({ port, shared: true }), await serve({ port, shared: true })]
      await assert.rejects(serve({ port }), (error: SkepError) => error.code === 'port_in_use')
      handler = hello
      assert.equal((await ask(port, get())).status, 200)
      await Promise.all(pair.map((each) => each.close(0)))
    })

    test('IPv6, and IPv4 in it, are listened on and named plainly', async () => {
      const addresses: string[] = []
      handler = (exchange) => {
        addresses.push(exchange.remoteAddress)
        hello(exchange)
      }
      for (const [address, host] of [
        ['::1', '::1'],
        ['::', '127.0.0.1'],
      ] as const) {
        const own = await serve({ address })
        const client = await Client.open(own.port, host)
        client.send(get())
        await client.answer()
        client.socket.destroy()
        await own.close(0)
      }
      assert.deepEqual(addresses, ['::1', '127.0.0.1'])
    })
  })
}

// uWebSockets' clock cannot be replaced: this waits for the real one, for both listeners at once.
describe('clients that dawdle are cut: in a head, between requests, in a body', { concurrency: true }, () => {
  for (const kind of ['uws', 'node'] as const) {
    const skip = kind === 'uws' && load.uws === undefined ? load.reason : false
    test(kind, { skip, timeout: 60_000 }, async () => {
      const own = await kinds[kind]({
        port: 0,
        address: '127.0.0.1',
        handler(exchange) {
          if (exchange.bodyLength === 0) return hello(exchange)
          exchange.observe(observer())
          exchange.grant(MB)
        },
      })
      const post = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc'
      const clients = ['', 'GET / HT', 'GET / HTTP/1.1\r\nX: ', get(), post].map(async (text) => {
        const client = await Client.open(own.port)
        const started = performance.now()
        if (text !== '') client.send(text)
        // A byte now and then does not help.
        const drip = text.endsWith('X: ') ? setInterval(() => client.send('x'), 1000) : undefined
        await client.closed()
        clearInterval(drip)
        return performance.now() - started
      })
      for (const ms of await Promise.all(clients)) assert.ok(ms > 20_000 && ms < 45_000, `${ms} ms`)
      await own.close(0)
    })
  }
})
