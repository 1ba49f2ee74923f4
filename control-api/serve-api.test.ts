import assert from 'node:assert/strict'
import { request } from 'node:http'
import { connect } from 'node:net'
import { once } from 'node:events'
import { test } from 'node:test'
import { serveApi } from './serve-api.ts'
import { openApi } from './test-support/host.ts'

const LOCAL = { port: 0, address: '127.0.0.1' }

test('it serves over HTTP, and a second one on the port is port_in_use', async (t) => {
  const { api } = await openApi(t)
  const server = await serveApi(api, LOCAL)
  t.after(() => server.close())
  const response = await fetch(`http://127.0.0.1:${server.port}/healthz`)
  assert.deepEqual([response.status, await response.text()], [200, 'ok\n'])
  await assert.rejects(serveApi(api, { ...LOCAL, port: server.port }), { code: 'port_in_use', message: /--api-port/ })
  await assert.rejects(serveApi(api, { ...LOCAL, address: '192.0.2.1' }), { code: 'invalid_config', message: /api.address/ })
})

test('closing lets the request in flight finish and takes no other', { timeout: 10_000 }, async () => {
  const entered = Promise.withResolvers<void>()
  const release = Promise.withResolvers<void>()
  const server = await serveApi(
    {
      fetch: async () => {
        entered.resolve()
        await release.promise
        return new Response('done')
      },
    },
    LOCAL,
  )
  const idle = connect(server.port, '127.0.0.1')
  await once(idle, 'connect')
  const answer = fetch(`http://127.0.0.1:${server.port}/`)
  await entered.promise
  const closed = server.close()
  await assert.rejects(fetch(`http://127.0.0.1:${server.port}/`))
  release.resolve()
  assert.equal(await (await answer).text(), 'done')
  await closed
  idle.destroy()
})

test('what does not finish in the grace is cut', { timeout: 10_000 }, async () => {
  const entered = Promise.withResolvers<void>()
  const server = await serveApi(
    {
      fetch: () => {
        entered.resolve()
        return new Promise<Response>(() => {})
      },
    },
    LOCAL,
  )
  const answer = assert.rejects(fetch(`http://127.0.0.1:${server.port}/`))
  await entered.promise
  await server.close(1)
  await answer
})

test('an upload over the limit is answered, and the server goes on', async (t) => {
  const { api, operator } = await openApi(t)
  const server = await serveApi(api, LOCAL)
  t.after(() => server.close())
  const url = `http://127.0.0.1:${server.port}/v1/functions/hello/versions`
  const headers = { authorization: `Bearer ${operator}`, 'content-type': 'multipart/form-data; boundary=b' }
  // node:http shows the answer even when the server closes before it has taken the whole body; fetch may show the reset.
  const status = await new Promise<number | undefined>((resolve, reject) => {
    const upload = request(url, { method: 'POST', headers }, (answer) => {
      answer.resume()
      resolve(answer.statusCode)
      upload.destroy()
    })
    upload.on('error', (error) => (upload.destroyed ? undefined : reject(error)))
    upload.write('--b\r\ncontent-disposition: form-data; name="bundle"; filename="x"\r\n\r\n')
    const more = () => {
      while (!upload.destroyed && upload.write(Buffer.alloc(65_536)));
    }
    upload.on('drain', more)
    more()
  })
  assert.equal(status, 413)
  assert.equal((await fetch(`http://127.0.0.1:${server.port}/healthz`)).status, 200)
})
