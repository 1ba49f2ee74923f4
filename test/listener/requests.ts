import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Exchange } from '../../host/listener/listener.ts'
import { get } from './client.ts'
import { hello, later, type Stage } from './stage.ts'

/** What a handler gets to see of a request. */
export function requestCases(stage: Stage): void {
  test('tells what was asked, and answers', async () => {
    let seen: Exchange | undefined
    let from = ''
    stage.handler = (exchange) => {
      seen = exchange
      from = exchange.remoteAddress
      later(hello)(exchange)
    }
    const { port, scheme } = stage
    const request = `GET /a/b?c=d HTTP/1.1\r\nHost: Hello.Localhost.:${port}\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nX-A: 1\r\nX-A: 2\r\n\r\n`
    const answer = await stage.ask(request)
    assert.equal(seen!.method, 'GET')
    assert.equal(seen!.url, `${scheme}://hello.localhost:${port}/a/b?c=d`)
    assert.equal(seen!.hostname, 'hello.localhost')
    assert.equal(seen!.bodyLength, 0)
    assert.equal(from, '127.0.0.1')
    assert.deepEqual(seen!.headers, ['host', `Hello.Localhost.:${port}`, 'x-a', '1', 'x-a', '2'])
    assert.equal(answer.statusLine, stage.carrier === 'h2' ? 'HTTP/2 200' : 'HTTP/1.1 200 OK')
    assert.equal(answer.body.toString(), 'hello')
    assert.deepEqual(answer.headers.get('x-from'), ['skep'])
    assert.ok(Math.abs(Date.parse(answer.headers.get('date')![0]!) - Date.now()) < 60_000)
    assert.equal(answer.headers.has('uwebsockets'), false)
  })

  test('makes a URL of any target', async () => {
    let url = ''
    stage.handler = (exchange) => {
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
      await stage.ask(get(target))
      assert.equal(url, `${stage.scheme}://a.test${path}`, target)
    }
    const raw = await stage.ask(get(Buffer.from('/é?ü=☃').toString('latin1')))
    if (stage.carrier === 'node' || stage.carrier === 'tls') return assert.equal(raw.status, 400)
    assert.equal(url, `${stage.scheme}://a.test/%C3%A9?%C3%BC=%E2%98%83`)
  })

  test('15 kB of headers pass', async () => {
    let length = 0
    stage.handler = (exchange) => {
      length = exchange.headers[3]!.length
      hello(exchange)
    }
    assert.equal((await stage.ask(get('/', `X: ${'x'.repeat(15_000)}\r\n`))).status, 200)
    assert.equal(length, 15_000)
  })

  test('an upgrade is a plain request, and Connection: close is kept', async () => {
    stage.handler = later(hello)
    const client = await stage.open()
    client.send(get('/', 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\n'))
    assert.equal((await client.answer())!.status, 200)
    client.close()
    // HTTP/2 has neither.
    if (stage.carrier === 'h2') return
    const last = await stage.open()
    last.send(get('/', 'Connection: close\r\n'))
    assert.deepEqual((await last.answer())!.headers.get('connection'), ['close'])
    await last.closed()
  })

  test('answers of many requests on one connection come in order', async () => {
    stage.handler = (exchange) => exchange.respond(200, [], exchange.url)
    const client = await stage.open()
    client.send(Array.from({ length: 100 }, (_, i) => get(`/${i}`)).join(''))
    for (let i = 0; i < 100; i++) assert.equal((await client.answer())!.body.toString(), `${stage.scheme}://a.test/${i}`)
    client.close()
  })

  test('1,000 requests at once', async () => {
    stage.handler = later((exchange) => exchange.respond(200, [], exchange.url))
    const bodies = await Promise.all(
      Array.from({ length: 1000 }, async (_, i) => (await stage.ask(get(`/${i}`))).body.toString()),
    )
    bodies.forEach((body, i) => assert.equal(body, `${stage.scheme}://a.test/${i}`))
  })

  test('IPv6, and IPv4 in it, are listened on and named plainly', async () => {
    const addresses: string[] = []
    stage.handler = (exchange) => {
      addresses.push(exchange.remoteAddress)
      hello(exchange)
    }
    for (const [address, host] of [
      ['::1', '::1'],
      ['::', '127.0.0.1'],
    ] as const) {
      const own = await stage.serve({ address })
      const client = await stage.open(own.port, host)
      client.send(get())
      await client.answer()
      client.close()
      await own.close(0)
    }
    assert.deepEqual(addresses, ['::1', '127.0.0.1'])
  })
}
