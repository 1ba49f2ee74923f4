/** Clients that leave at every stage, and what is sent behind an answer that is not complete yet. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Exchange } from '../../host/listener/listener.ts'
import { get } from './client.ts'
import { collect, gate, hello, observer, type Stage } from './stage.ts'

const POST = 'POST / HTTP/1.1\r\nHost: a.test\r\n'

export function earlyCases(stage: Stage): void {
  const stages: [string, string][] = [
    ['at once', ''],
    ['in the request line', 'GET /'],
    ['in a header', 'GET / HTTP/1.1\r\nHost: a.t'],
    ['before the empty line', 'GET / HTTP/1.1\r\nHost: a.test\r\n'],
    ['before the body', `${POST}Content-Length: 5\r\n\r\n`],
    ['in the body', `${POST}Content-Length: 5\r\n\r\nhe`],
    ['in a chunk size', `${POST}Transfer-Encoding: chunked\r\n\r\n5`],
    ['in a chunk', `${POST}Transfer-Encoding: chunked\r\n\r\n5\r\nhe`],
    ['before the last chunk', `${POST}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n`],
    ['before the last line end', `${POST}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n`],
    ['while it waits for 100 Continue', `${POST}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n`],
    ['after the whole request', get()],
  ]
  for (const reset of [false, true]) {
    for (const [name, bytes] of stages) {
      test(`a client that ${reset ? 'resets' : 'closes'} ${name}`, async () => {
        let open = 0
        const settled = gate()
        stage.handler = (exchange) => {
          open++
          const over = () => {
            if (--open === 0) settled.open()
          }
          exchange.observe(observer({ aborted: over, bodyChunk: (_bytes, last) => last && (exchange.respond(200, []), over()) }))
          exchange.grant(100)
        }
        const calls = stage.calls
        const client = await stage.raw()
        await new Promise((resolve) => client.socket.write(bytes, resolve))
        if (reset && stage.scheme === 'http') client.socket.resetAndDestroy()
        else client.socket.destroy()
        // Whoever was called is told; nobody is called twice, and others are served.
        const barrier = stage.handler
        stage.handler = hello
        assert.equal((await stage.ask(get('/barrier'))).status, 200)
        stage.handler = barrier
        if (open > 0) await settled.opened
        assert.ok(stage.calls - calls <= 2)
      })
    }
  }

  test('garbage behind a request, while its answer streams, ends the connection and reaches no handler', async () => {
    const there = gate<Exchange>()
    const gone = gate()
    stage.handler = (exchange) => {
      exchange.observe(observer({ aborted: gone.open }))
      exchange.start(200, [])
      exchange.write('part')
      there.open(exchange)
    }
    const client = await stage.raw()
    client.send(get())
    const exchange = await there.opened
    client.send('\x16\x03\x01 no request\r\n\r\n')
    const answer = await client.answer()
    if (stage.carrier === 'uws') {
      // Its parser writes its own page into the answer; the broken chunk tells the client.
      await gone.opened
    } else {
      // node:http lets the answer finish, or cuts it: it does not get another one mixed in.
      exchange.end()
    }
    assert.equal(answer!.status, 200)
    assert.equal(answer!.whole, false)
    await client.closed()
  })

  test('a connection serves on after an upload that was answered early, and after one that was taken whole', async () => {
    const client = await stage.raw()
    stage.handler = (exchange) => exchange.respond(403, [], 'no')
    client.send(`${POST}Content-Length: 100000\r\n\r\n`)
    assert.equal((await client.answer())!.status, 403)
    client.send(Buffer.alloc(100_000, 'GET / HTTP/1.1\r\n'))
    stage.handler = (exchange) => void collect(exchange).then((body) => exchange.respond(200, [], String(body.length)))
    client.send(`${POST}Content-Length: 5\r\n\r\nhello`)
    assert.equal((await client.answer())!.body.toString(), '5')
    stage.handler = hello
    client.send(get())
    assert.equal((await client.answer())!.body.toString(), 'hello')
    client.close()
  })

  test('behind an upload in chunks, uWebSockets closes; node:http serves on', async () => {
    for (const streamed of [false, true]) {
      for (const early of [false, true]) {
        stage.handler = (exchange) => {
          const answer = () => {
            if (!streamed) return exchange.respond(200, [], 'done')
            exchange.start(200, [])
            exchange.write('do')
            exchange.write('ne')
            exchange.end()
          }
          if (early) answer()
          else void collect(exchange).then(answer)
        }
        const client = await stage.raw()
        const head = `${POST}Transfer-Encoding: chunked\r\n\r\n`
        const body = '5\r\nhello\r\n0\r\n\r\n'
        client.send(early ? head : head + body)
        const answer = await client.answer()
        assert.deepEqual([answer!.body.toString(), answer!.whole], ['done', true], `${streamed} ${early}`)
        if (early) client.send(body)
        if (stage.carrier === 'uws') {
          await client.closed()
        } else {
          stage.handler = hello
          client.send(get())
          assert.equal((await client.answer())!.status, 200)
          client.close()
        }
        assert.equal(client.received.length, 0)
      }
    }
  })

  test('pipelined requests are answered in order, or the connection is cut; never mixed', async () => {
    for (const count of [2, 50, 1_000]) {
      stage.handler = (exchange) => {
        exchange.observe(observer())
        // Later ones are ready first.
        setTimeout(() => exchange.respond(200, [], exchange.url), 20 - Math.min(19, Number(exchange.url.split('/').at(-1))))
      }
      const client = await stage.raw()
      client.send(Array.from({ length: count }, (_, i) => get(`/${i}`)).join(''))
      let answered = 0
      for (; answered < count; answered++) {
        const answer = await client.answer()
        if (answer === undefined) break
        assert.ok(answer.whole)
        assert.equal(answer.body.toString(), `${stage.scheme}://a.test/${answered}`)
      }
      if (stage.carrier === 'uws') assert.equal(answered, 0)
      else if (count <= 50) assert.equal(answered, count)
      else assert.equal(answered, 0, 'more than a client may have open')
      client.close()
    }
  })
}
