import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Exchange } from '../../host/listener/listener.ts'
import { get } from './client.ts'
import { collect, gate, hello, later, MB, observer, type Stage } from './stage.ts'

/** Bodies of requests: credit, framing, breaking off. */
export function bodyCases(stage: Stage): void {
  test('bodies come through byte by byte, with a length and chunked', async () => {
    const body = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 7) % 256))
    for (const credit of [Infinity, 10_000]) {
      stage.handler = (exchange) => {
        const length = exchange.bodyLength
        collect(exchange, credit).then((bytes) => exchange.respond(200, ['x-length', String(length)], bytes))
      }
      const client = await stage.open()
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
      client.close()
    }
  })

  test('nothing of a body comes before it is granted', async () => {
    let chunks = 0
    const there = gate<Exchange>()
    const done = gate()
    stage.handler = (exchange) => {
      exchange.observe(observer({ bodyChunk: (_bytes, last) => (chunks++, last && done.open()) }))
      there.open(exchange)
    }
    const client = await stage.open()
    client.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello')
    const exchange = await there.opened
    stage.handler = hello
    await stage.ask(get('/barrier'))
    assert.equal(chunks, 0)
    exchange.grant(5)
    await done.opened
    exchange.respond(200, [], '')
    assert.equal((await client.answer())!.status, 200)
    client.close()
  })

  test('Expect: 100-continue', async () => {
    stage.handler = (exchange) => {
      collect(exchange).then((bytes) => exchange.respond(200, [], bytes))
    }
    const client = await stage.open()
    client.send('POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n')
    assert.equal((await client.answer())!.status, 100)
    client.send('hello')
    assert.equal((await client.answer())!.body.toString(), 'hello')
    client.close()
  })

  test('a body that breaks off, or is framed wrongly, is told once', async () => {
    // Chunks are HTTP/1.1's.
    for (const rest of stage.carrier === 'h2' ? [''] : ['', 'zz\r\n']) {
      const events: string[] = []
      const gone = gate()
      const there = gate()
      stage.handler = (exchange) => {
        exchange.observe(
          observer({
            bodyFailed: () => events.push('failed'),
            aborted: () => (events.push('aborted'), gone.open()),
          }),
        )
        exchange.grant(MB)
        there.open()
      }
      const client = await stage.open()
      client.send('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n')
      await there.opened
      if (rest === '') client.close()
      else client.send(rest)
      await gone.opened
      await client.closed()
      assert.deepEqual(events, ['failed', 'aborted'])
    }
  })

  // Over HTTP/2 nothing need be cut: see h2.ts.
  test(
    'an answer before the end of the body reaches the client; endless bodies are cut',
    { skip: stage.carrier === 'h2' && 'HTTP/2 has streams where HTTP/1.1 has connections; see listener-h2.test.ts' },
    async () => {
      stage.handler = later((exchange) => exchange.respond(413, ['skep-error', 'body_too_large'], 'Content Too Large'))
      const client = await stage.raw()
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
    },
  )
}
