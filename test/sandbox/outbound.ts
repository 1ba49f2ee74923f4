import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import type { SandboxFactory } from '../../sandbox/sandbox.ts'
import { handler, LOOP_ID, Probe } from './probe.ts'
import type { ProbeOptions } from './probe.ts'

/** `fetch` to the outside. Nothing leaves the machine: what is allowed is 127.0.0.1, and everything else must be refused. */
export function outboundCases(factory: () => SandboxFactory): void {
  let server: Server
  let origin = ''
  const open = new Set<IncomingMessage>()
  let most = 0
  let held: ServerResponse[] = []

  const routes: Record<string, (request: IncomingMessage, response: ServerResponse) => void> = {
    '/echo': (request, response) => {
      response.writeHead(201, { 'x-method': request.method, 'x-a': request.headers['x-a'] ?? '', 'set-cookie': ['a=1', 'b=2'] })
      request.pipe(response)
    },
    '/big': (_, response) => void response.end(Buffer.alloc(2_000_000, 'x')),
    '/gzip': (_, response) => {
      const body = gzipSync('unpacked')
      response.writeHead(200, { 'content-encoding': 'gzip', 'content-length': body.length }).end(body)
    },
    '/length': (request, response) => {
      let length = 0
      request.on('data', (chunk: Buffer) => (length += chunk.length))
      request.on('end', () => response.end(`${length} of ${request.headers['content-length']}`))
    },
    '/headers': (request, response) => void response.end(JSON.stringify(request.headers)),
    '/redirect': (_, response) => void response.writeHead(302, { location: '/echo' }).end(),
    '/inside': (_, response) =>
      void response.writeHead(302, { location: `http://127.0.0.2:${(server.address() as AddressInfo).port}/echo` }).end(),
    '/metadata': (_, response) => void response.writeHead(307, { location: 'http://169.254.169.254/latest' }).end(),
    '/hold': (_, response) => void held.push(response),
    '/cut': (_, response) => {
      response.write('some')
      setImmediate(() => response.destroy())
    },
  }
  before(async () => {
    server = createServer((request, response) => {
      open.add(request)
      most = Math.max(most, open.size)
      response.on('close', () => open.delete(request))
      const route = routes[new URL(request.url!, 'http://x').pathname]
      if (route === undefined) response.writeHead(404).end()
      else route(request, response)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  })
  after(() => {
    server.closeAllConnections()
    server.close()
  })

  const outbound = (name: string, body: string, run: (probe: Probe) => Promise<void>, options: ProbeOptions = {}) =>
    test(`fetch: ${name}`, async () => {
      const probe = new Probe(factory(), handler(`const o = env.ORIGIN; ${body}`), { ...options, env: { ORIGIN: origin } })
      await probe.sandbox.ready
      await run(probe)
      assert.deepEqual(probe.failures, [])
      probe.sandbox.dispose()
    })

  outbound(
    'an upload and what comes back',
    `
    const r = await fetch(o + '/echo', { method: 'PUT', body: 'sent', headers: { 'X-A': 'b' } })
    return Response.json([r.status, r.headers.get('x-method'), r.headers.get('x-a'), r.headers.getSetCookie(), await r.text(), r.url === o + '/echo', r.redirected])`,
    async (probe) => {
      assert.deepEqual(JSON.parse(await probe.get()), [201, 'PUT', 'b', ['a=1', 'b=2'], 'sent', true, false])
    },
  )

  outbound(
    'a streamed upload and download, passed on',
    `
    let n = 0
    const body = new ReadableStream({ pull(c) { c.enqueue(new Uint8Array(100_000)); if (++n === 20) c.close() } })
    return fetch(o + '/echo', { method: 'POST', body, duplex: 'half' })`,
    async (probe) => {
      assert.equal((await probe.answer(probe.send())).body.length, 2_000_000)
    },
  )

  outbound(
    'a large download, and a body that is packed',
    `
    const big = await (await fetch(o + '/big')).arrayBuffer()
    const packed = await fetch(o + '/gzip')
    return Response.json([big.byteLength, await packed.text(), packed.headers.get('content-encoding'), packed.headers.get('content-length')])`,
    async (probe) => {
      assert.deepEqual(JSON.parse(await probe.get()), [2_000_000, 'unpacked', null, null])
    },
  )

  outbound(
    'redirects: followed, refused, shown',
    `
    const followed = await fetch(o + '/redirect')
    const shown = await fetch(o + '/redirect', { redirect: 'manual' })
    const refused = await fetch(o + '/redirect', { redirect: 'error' }).catch((e) => e.name)
    return Response.json([followed.status, followed.redirected, followed.url === o + '/echo', shown.status, shown.headers.get('location'), refused])`,
    async (probe) => {
      assert.deepEqual(JSON.parse(await probe.get()), [201, true, true, 302, '/echo', 'TypeError'])
    },
  )

  outbound(
    'fields that frame the message or are the host’s are not taken over',
    `
    const r = await fetch(o + '/headers', { headers: { host: 'evil', connection: 'close, x-hop', 'transfer-encoding': 'chunked', 'skep-request-id': 'x', te: 'x', 'x-mine': '1', 'x-hop': '1' } })
    return r`,
    async (probe) => {
      const headers = JSON.parse(await probe.get()) as Record<string, string>
      assert.equal(headers['x-mine'], '1')
      assert.equal(headers.host, origin.slice(7))
      for (const name of ['skep-request-id', 'te', 'transfer-encoding', 'x-hop']) assert.equal(headers[name], undefined)
    },
  )

  outbound(
    'what is no http URL, and what nobody answers, rejects',
    `
    const results = []
    for (const url of ['ftp://127.0.0.1/', 'ws://127.0.0.1/', 'wss://127.0.0.1/', 'data:text/plain,x', 'file:///etc/passwd', 'blob:x', 'http://127.0.0.1:1/', o + '/cut'])
      results.push(await fetch(url).then((r) => r.text()).catch((e) => e.name))
    return Response.json(results)`,
    async (probe) => {
      assert.deepEqual(JSON.parse(await probe.get()), Array(8).fill('TypeError'))
    },
  )

  const refused = [
    ...[
      '127.0.0.2',
      '127.1.2.3',
      '0x7f.0.0.2',
      '2130706434',
      '017700000002',
      '127.2',
      '0',
      '0.0.0.0',
      '[::1]',
      '[::]',
      '[::ffff:127.0.0.2]',
      '[::ffff:7f00:2]',
      '[0:0:0:0:0:ffff:127.0.0.2]',
    ],
    ...[
      '[64:ff9b::7f00:2]',
      '[::7f00:2]',
      '[fe80::1]',
      '[fd00:ec2::254]',
      '169.254.169.254',
      '10.0.0.1',
      '192.168.1.1',
      '172.16.0.1',
      '100.64.0.1',
      '224.0.0.1',
      '255.255.255.255',
      '１２７.0.0.2',
      '127。0。0。2',
    ],
  ]
  outbound(
    'private addresses in every notation, also after a redirect, are refused before a packet is sent',
    `
    const results = []
    for (const host of ${JSON.stringify(refused)}) results.push(await fetch('http://' + host + ':8080/').then((r) => 'answered ' + host, (e) => e.message))
    for (const path of ['/inside', '/metadata']) results.push(await fetch(o + path).then((r) => 'answered ' + path, (e) => e.message))
    return Response.json(results)`,
    async (probe) => {
      const results = JSON.parse(await probe.get()) as string[]
      assert.equal(results.length, refused.length + 2)
      for (const result of results) assert.match(result, /refused: .* is not a public address/)
    },
  )

  outbound(
    "the tenant's own lists: what they allow is open to it, what they deny is closed",
    `
    const results = []
    for (const url of [o.replace('127.0.0.1', '127.0.0.2') + '/echo', o + '/echo', o.replace('127.0.0.1', '127.0.0.3') + '/echo'])
      results.push(await fetch(url).then((r) => r.status, (e) => e.message.replace(/:\\d+/g, '')))
    return Response.json(results)`,
    async (probe) => {
      const [allowed, denied, closed] = JSON.parse(await probe.get()) as (string | number)[]
      // Nothing listens on 127.0.0.2, which is tried.
      assert.match(String(allowed), /ECONNREFUSED/)
      assert.match(String(denied), /denied to this tenant/)
      assert.match(String(closed), /not a public address/)
    },
    { egress: { allow: ['127.0.0.2'], deny: ['127.0.0.1'] } },
  )

  outbound(
    'what a request has come through goes on with it, whatever the function sets',
    `
    const headers = { 'cdn-loop': 'forged', connection: 'cdn-loop' }
    const results = [(await (await fetch(o + '/headers', { headers })).json())['cdn-loop']]
    await new Promise((r) => setTimeout(r, 1))
    results.push((await (await fetch(o + '/headers', { headers: request.headers })).json())['cdn-loop'])
    return Response.json(results)`,
    async (probe) => {
      const [plain, through] = [probe.send(), probe.send('/', { headers: ['cdn-loop', `other; a=b, ${LOOP_ID}`] })]
      const results = [await probe.answer(plain), await probe.answer(through)].map(({ body }) => JSON.parse(body) as string[])
      assert.equal(results[0]![0], LOOP_ID)
      assert.equal(results[1]![0], `other; a=b, ${LOOP_ID}, ${LOOP_ID}`)
      // After an await among several events the function's event is not known: then it is the longest way.
      assert.equal(results[1]![1], `other; a=b, ${LOOP_ID}, ${LOOP_ID}`)
    },
  )

  outbound(
    'large bodies are not copied as often as they are named: they go in pieces, with their length',
    `
    const body = new Uint8Array(3_000_000).fill(97)
    const text = 'ä'.repeat(3_000_000)
    const sent = [body, body, body, body, text, text].map((one) => fetch(o + '/length', { method: 'POST', body: one }).then((r) => r.text()))
    return Response.json(await Promise.all(sent))`,
    async (probe) => {
      const [bytes, text] = ['3000000 of 3000000', '6000000 of 6000000']
      assert.deepEqual(JSON.parse(await probe.get()), [bytes, bytes, bytes, bytes, text, text])
    },
  )

  outbound(
    'a name that leads inside is refused after DNS',
    `return new Response(await fetch('http://localhost:2/').catch((e) => e.message))`,
    async (probe) => {
      // Loopback as `::1` and 127.0.0.1: the latter is allowed here, and nothing listens on its port 2.
      assert.match(await probe.get(), /refused|ECONNREFUSED/)
    },
  )

  outbound(
    'an abort ends it on both sides',
    `
    const controller = new AbortController()
    const waiting = fetch(o + '/hold', { signal: controller.signal }).catch((e) => e.name)
    setTimeout(() => controller.abort(), 30)
    return Response.json([await waiting, await fetch(o, { signal: AbortSignal.abort() }).catch((e) => e.name)])`,
    async (probe) => {
      assert.deepEqual(JSON.parse(await probe.get()), ['AbortError', 'AbortError'])
    },
  )

  outbound(
    'six at once and fifty in all',
    `
    const n = +request.url.split('?')[1]
    const results = await Promise.all(Array.from({ length: n }, () => fetch(o + '/echo', { method: 'POST', body: 'x' }).then((r) => r.text(), (e) => e.message)))
    return Response.json(results)`,
    async (probe) => {
      most = 0
      for (const round of [1, 2]) {
        const event = probe.newEvent()
        probe.send('/?52', { event })
        const results = JSON.parse((await probe.answer(event)).body) as string[]
        await probe.done(event)
        assert.equal(results.filter((text) => text === 'x').length, 50, `round ${round}`)
        assert.match(results[50]!, /limit subrequests/)
      }
      assert.ok(most <= 6, `${most} at once`)
    },
  )

  outbound(
    'what an event leaves running is cut when it ends',
    `
    if (request.url.endsWith('/next')) return new Response(await (await fetch(o + '/echo', { method: 'POST', body: 'free' })).text())
    for (let i = 0; i < 6; i++) fetch(o + '/hold').catch((e) => console.log(e.name))
    await new Promise((r) => setTimeout(r, 50))
    return new Response('left')`,
    async (probe) => {
      const event = probe.send('/', { event: 7 })
      await probe.done(event)
      probe.messages.length = 0
      assert.equal(await probe.get('/next', { event: 7 }), 'free')
      await probe.until(() => probe.logs().filter((line) => line === 'info: AbortError').length === 6)
      for (const response of held.splice(0)) response.destroy()
    },
  )
}
