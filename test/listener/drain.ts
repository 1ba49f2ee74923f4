import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SkepError } from '../../host/errors.ts'
import { checkPort } from '../../host/listener/_ports.ts'
import type { Exchange } from '../../host/listener/listener.ts'
import { type Answer, get } from './client.ts'
import { collect, gate, hello, MB, observer, type Stage } from './stage.ts'

/** A listener that closes, and ports. */
export function drainCases(stage: Stage): void {
  // HTTP/2 says it with a GOAWAY.
  const toldLast = (answer: Answer) => stage.carrier === 'h2' || assert.deepEqual(answer.headers.get('connection'), ['close'])

  test('close: what is in flight is answered whole, then everything is shut', async () => {
    const own = await stage.serve()
    const parked: Exchange[] = []
    const all = gate()
    stage.handler = (exchange) => {
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
    const [idle, waits, large, streams, uploads] = await Promise.all(Array.from({ length: 5 }, () => stage.open(own.port)))
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
      for (;;) (await stage.open(own.port)).close()
    }, /ECONNREFUSED|ECONNRESET/)
    uploads!.send('world')
    assert.equal((await uploads!.answer())!.body.toString(), 'helloworld')
    parked.find((x) => x.url.endsWith('/waits'))!.respond(200, [], 'done')
    const last = await waits!.answer()
    assert.equal(last!.body.toString(), 'done')
    toldLast(last!)
    parked.find((x) => x.url.endsWith('/large'))!.respond(200, [], Buffer.alloc(8 * MB))
    assert.equal((await large!.answer())!.body.length, 8 * MB)
    const stream = parked.find((x) => x.url.endsWith('/stream'))!
    stream.write('second')
    stream.end()
    assert.equal((await streams!.answer())!.body.toString(), 'first,second')
    await closed
    await Promise.all([idle, waits, large, streams, uploads].map((client) => client!.closed()))
  })

  // Clients of HTTP/2 send nothing more once they are told; h2.ts has those that have not heard yet.
  test(
    'close: a keep-alive connection that was idle gets one more answer, and is told that it was the last',
    { skip: stage.carrier === 'h2' && 'HTTP/2 has streams where HTTP/1.1 has connections; see listener-h2.test.ts' },
    async () => {
      const own = await stage.serve()
      stage.handler = hello
      const client = await stage.open(own.port)
      client.send(get())
      assert.notDeepEqual((await client.answer())!.headers.get('connection'), ['close'])
      const closed = own.close()
      // By now the drain has looked for requests in flight, and found none.
      for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
      client.send(get())
      const last = await client.answer()
      assert.equal(last!.status, 200)
      toldLast(last!)
      await client.closed()
      await closed
    },
  )

  test('close: a young connection gets its first request answered, a late one is cut', async () => {
    const own = await stage.serve()
    stage.handler = hello
    const young = await stage.open(own.port)
    const closed = own.close()
    young.send(get())
    const answer = await young.answer()
    assert.equal(answer!.status, 200)
    toldLast(answer!)
    await closed

    const other = await stage.serve()
    const there = gate()
    const gone = gate()
    stage.handler = (exchange) => {
      exchange.observe(observer({ aborted: gone.open }))
      there.open()
    }
    const stuck = await stage.open(other.port)
    stuck.send(get())
    await there.opened
    await other.close(50)
    await gone.opened
    await stuck.closed()
  })

  test('a port is exclusive unless it is shared', async () => {
    const inUse = (error: SkepError): boolean => error.code === 'port_in_use' && error.message.includes(String(stage.port))
    await assert.rejects(stage.serve({ port: stage.port }), inUse)
    await assert.rejects(stage.serve({ port: stage.port, shared: true }), inUse)
    await assert.rejects(checkPort({ port: stage.port, address: '127.0.0.1', shared: false }), inUse)
    await assert.rejects(stage.serve({ address: '192.0.2.1' }), (error: SkepError) => error.code === 'invalid_config')
    const free = await stage.serve()
    const { port } = free
    await free.close(0)
    const pair = [await stage.serve({ port, shared: true }), await stage.serve({ port, shared: true })]
    await assert.rejects(stage.serve({ port }), (error: SkepError) => error.code === 'port_in_use')
    stage.handler = hello
    assert.equal((await stage.ask(get(), { port })).status, 200)
    await Promise.all(pair.map((each) => each.close(0)))
  })
}
