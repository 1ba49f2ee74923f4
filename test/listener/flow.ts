import assert from 'node:assert/strict'
import { test } from 'node:test'
import { get } from './client.ts'
import { gate, later, MB, observer, type Stage } from './stage.ts'

/** Large bodies and answers do not pile up in memory. Over HTTP/2, h2.ts has the like. */
export function flowCases(stage: Stage): void {
  test('a large answer to a client that is slow to read is not kept in memory', async () => {
    const total = 200 * MB
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
    const client = await stage.raw()
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
      if (received >= total && tail === '\r\n0\r\n\r\n') client.close()
    })
    client.socket.resume()
    await client.closed()
    assert.ok(received > total)
    assert.ok(peak - before < 80 * MB, `${Math.round((peak - before) / MB)} MB more`)
  })

  test('a large answer given whole arrives whole', async () => {
    const body = Buffer.alloc(30 * MB, 'abcdefg')
    stage.handler = later((exchange) => exchange.respond(200, [], body))
    const client = await stage.raw()
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
    stage.handler = (exchange) => {
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
    const client = await stage.raw()
    const before = process.memoryUsage.rss()
    client.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${total}\r\n\r\n`)
    const chunk = Buffer.alloc(MB)
    for (let sent = 0; sent < total; sent += chunk.length) {
      if (!client.socket.write(chunk)) await new Promise((resolve) => client.socket.once('drain', resolve))
    }
    assert.equal((await client.answer())!.body.toString(), String(total))
    assert.ok(peak - before < 80 * MB, `${Math.round((peak - before) / MB)} MB more`)
    client.close()
  })
}
