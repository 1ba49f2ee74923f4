/** A connection that is kept open after an upload of any size is read on. */
import assert from 'node:assert/strict'
import { Agent, request } from 'node:http'
import { test } from 'node:test'
import { listen } from '../host/listener/choose.ts'
import type { Exchange } from '../host/listener/listener.ts'
import { loadUws } from '../host/listener/uws-binary.ts'
import { skipUnless } from './services/require.ts'

/** As the host's isolates take a body: some credit, given again as it is used. */
function count(exchange: Exchange): void {
  let length = 0
  exchange.observe({
    bodyChunk(bytes, last) {
      length += bytes.length
      if (last) exchange.respond(200, [], String(length))
      else setImmediate(() => exchange.grant(bytes.length))
    },
    bodyFailed() {},
    drained() {},
    aborted() {},
  })
  if (exchange.bodyLength === 0) exchange.respond(200, [], '0')
  else exchange.grant(262_144)
}

for (const kind of ['uws', 'node'] as const) {
  const missing = kind === 'uws' && loadUws().uws === undefined ? 'uWebSockets.js does not load here' : undefined
  test(`the next request after an upload is answered, ${kind}`, { skip: skipUnless(missing), timeout: 60_000 }, async (t) => {
    const { listener } = await listen({ port: 0, address: '127.0.0.1', kind, handler: count })
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    t.after(async () => {
      agent.destroy()
      await listener.close()
    })
    const ask = (size: number) =>
      new Promise<string>((resolve, reject) => {
        const sent = request(
          { host: '127.0.0.1', port: listener.port, agent, method: size === 0 ? 'GET' : 'POST' },
          (response) => {
            let text = ''
            response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
            response.on('end', () => resolve(text))
          },
        )
        sent.on('error', reject)
        sent.end(Buffer.alloc(size, 'u'))
      })
    for (let size = 100_000; size < 2_500_000; size += 61_000) {
      assert.equal(await ask(size), String(size))
      assert.equal(await ask(0), '0')
    }
  })
}
