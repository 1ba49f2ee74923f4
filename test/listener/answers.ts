import assert from 'node:assert/strict'
import { test } from 'node:test'
import { headText, ownHeaders } from '../../host/listener/_headers.ts'
import type { Exchange } from '../../host/listener/listener.ts'
import { get } from './client.ts'
import { gate, hello, later, observer, type Stage } from './stage.ts'

/** Answers, whole and streamed: what comes from a tenant may not spoil its frame. */
export function answerCases(stage: Stage): void {
  test('HEAD, 204, 205 and 304 have no body', async () => {
    stage.handler = later((exchange) => exchange.respond(200, [], 'hello'))
    const client = await stage.open()
    const head = 'HEAD / HTTP/1.1\r\nHost: a\r\n\r\n'
    client.send(head)
    assert.deepEqual((await client.answer({ head: true }))!.headers.get('content-length'), ['5'])
    stage.handler = later((exchange) => exchange.respond(200, ['content-length', '1234']))
    client.send(head)
    assert.deepEqual((await client.answer({ head: true }))!.headers.get('content-length'), ['1234'])
    for (const streamed of [false, true]) {
      for (const status of [204, 205, 304]) {
        stage.handler = later((exchange) => {
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
    stage.handler = hello
    client.send(get())
    assert.equal((await client.answer())!.body.toString(), 'hello')
    client.close()
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
      stage.handler = later((exchange) => {
        assert.throws(() => exchange.respond(status, headers, 'x'), TypeError)
        assert.throws(() => exchange.start(status, headers), TypeError)
        exchange.respond(500, ['skep-error', 'bad_response'], 'Internal Server Error')
      })
      assert.deepEqual((await stage.ask(get())).headers.get('skep-error'), ['bad_response'])
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
      stage.handler = later((exchange) => {
        if (!streamed) return exchange.respond(200, headers, 'hello')
        exchange.start(200, headers)
        exchange.write('hel')
        exchange.write('lo')
        exchange.end()
      })
      const answer = await stage.ask(get())
      assert.deepEqual(answer.headers.get('set-cookie'), ['a=1', 'b=2'])
      assert.deepEqual(answer.headers.get('x'), ['caf\xe9'])
      assert.equal(answer.headers.get('date')!.length, 1)
      assert.deepEqual(answer.headers.get('content-length'), streamed ? undefined : ['5'])
      assert.equal(answer.body.toString(), 'hello')
    }
  })

  test('a handler that throws is answered 500', async (t) => {
    t.mock.method(console, 'error', () => {})
    stage.handler = () => {
      throw new Error('on purpose')
    }
    assert.deepEqual((await stage.ask(get())).headers.get('skep-error'), ['internal'])
  })

  test('a client that goes away is told of once, while waiting and while streaming', async () => {
    for (const streaming of [false, true]) {
      let aborted = 0
      const there = gate()
      const gone = gate<Exchange>()
      stage.handler = (exchange) => {
        exchange.observe(observer({ aborted: () => (aborted++, gone.open(exchange)) }))
        if (streaming) {
          exchange.start(200, [])
          exchange.write('part')
        }
        there.open()
      }
      const client = await stage.open()
      client.send(get())
      await there.opened
      client.close()
      const exchange = await gone.opened
      exchange.respond(200, [], 'ignored')
      assert.equal(exchange.write('ignored'), false)
      exchange.end()
      exchange.abort()
      stage.handler = hello
      await stage.ask(get('/barrier'))
      assert.equal(aborted, 1)
    }
  })

  test('abort cuts, so that the client sees a broken answer', async () => {
    let aborted = 0
    stage.handler = (exchange) => {
      exchange.observe(observer({ aborted: () => aborted++ }))
      exchange.start(200, [])
      exchange.write('part')
      setImmediate(() => exchange.abort())
    }
    const answer = await stage.ask(get())
    assert.equal(answer.body.toString(), 'part')
    assert.equal(answer.whole, false)
    assert.equal(aborted, 0)
  })
}
