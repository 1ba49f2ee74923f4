/** Clients that dawdle, and too many of them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Client, get } from './client.ts'
import { gate, hello, MB, observer, Stage, whyNot } from './stage.ts'

/** uWebSockets' clock ticks every 4 seconds and cannot be replaced: this waits for the real one. */
const IDLE_MS = 5_000
/** Machines are busy. */
const AT_MOST = 40_000

export function slowCases(): void {
  for (const carrier of ['uws', 'node', 'tls'] as const) {
    test(`${carrier}: in a head, between requests, in a body, in reading the answer`, { skip: whyNot(carrier) }, async () => {
      const stage = new Stage(carrier, { maxConnections: 100, idleMs: IDLE_MS })
      await stage.begin()
      let aborted = 0
      const unread = gate()
      stage.handler = (exchange) => {
        const large = exchange.url.endsWith('/large')
        exchange.observe(observer({ aborted: () => (aborted++, large && unread.open()) }))
        if (large) return exchange.respond(200, [], Buffer.alloc(64 * MB))
        if (exchange.bodyLength === 0) return hello(exchange)
        exchange.grant(MB)
      }
      const post = 'POST / HTTP/1.1\r\nHost: a.test\r\n'
      const cases: [first: string, drip: string][] = [
        ['', ''],
        ['GET / HT', ''],
        ['GET / HTTP/1.1\r\nX: ', 'x'],
        ['GET / HTTP/1.1\r\nHost: a.test\r\n', 'X: y\r\n'],
        [get(), ''],
        [`${post}Content-Length: 900000\r\n\r\nabc`, ''],
        [`${post}Content-Length: 900000\r\n\r\nabc`, 'x'],
        [`${post}Transfer-Encoding: chunked\r\n\r\n`, '1\r\nx\r\n'],
        [get('/large'), ''],
      ]
      const times = cases.map(async ([first, drip]) => {
        const client = await stage.raw()
        const began = performance.now()
        if (first.includes('/large')) client.socket.removeAllListeners('data').pause()
        if (first !== '') client.send(first)
        // A byte now and then does not help.
        const dripping = drip === '' ? undefined : setInterval(() => client.send(drip), 500)
        // Who reads nothing does not see the end either.
        if (first.includes('/large')) await unread.opened.then(() => client.close())
        await client.closed()
        clearInterval(dripping)
        return [first, performance.now() - began] as const
      })
      for (const [first, ms] of await Promise.all(times))
        assert.ok(ms > IDLE_MS * 0.6 && ms < AT_MOST, `${JSON.stringify(first)}: ${ms} ms`)
      assert.equal(aborted, 4)
      await stage.finish()
    })

    test(
      `${carrier}: connections above the bound are closed at once, and those below it are served`,
      { skip: whyNot(carrier) },
      async () => {
        let refused = 0
        const stage = new Stage(carrier)
        stage.handler = hello
        const own = await stage.serve({ limits: { maxConnections: 3, idleMs: 30_000 }, refused: () => refused++ })
        const open = [await stage.raw(own.port), await stage.raw(own.port), await stage.raw(own.port)]
        const fourth = await Client.open(own.port)
        await fourth.closed()
        assert.equal(fourth.received.length, 0)
        assert.equal(refused, 1)
        for (const client of open) {
          client.send(get())
          assert.equal((await client.answer())!.status, 200)
        }
        open[0]!.close()
        // The server hears of it a little later.
        for (let status = 0; status !== 200;) {
          const next = await stage.raw(own.port).catch(() => undefined)
          next?.send(get())
          status = (await next?.answer())?.status ?? 0
          next?.close()
        }
        for (const client of open) client.close()
        await own.close(0)
      },
    )
  }
}
