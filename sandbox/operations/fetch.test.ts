import assert from 'node:assert/strict'
import { createServer as createHttpServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { suite, test } from 'node:test'
import type { TestContext } from 'node:test'
import { createServer as createTlsServer } from 'node:tls'
import { brotliCompressSync, constants, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'
import type { Dispatcher } from 'undici'
import { CERTIFICATE, KEY } from '../../test/sandbox/certificate.ts'
import { INITIAL_CREDIT } from '../protocol.ts'
import { createAgent } from './connect.ts'
import { OutboundFetch } from './fetch.ts'
import { Network } from './network.ts'
import type { TenantNetwork } from './network.ts'
import { readRequest } from './request.ts'

/** Servers that mean no good, on loopback sockets, and what is told of them. */

const NONE = { allow: [], deny: [] }

function open(t: TestContext): { network: TenantNetwork; agent: Dispatcher } {
  const network = new Network({ allow: ['127.0.0.1'], deny: [] }).enter('acme', NONE)
  const agent = createAgent(network)
  t.after(() => agent.destroy())
  return { network, agent }
}

async function listen(t: TestContext, server: Server): Promise<string> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const serve = (t: TestContext, run: (request: IncomingMessage, response: ServerResponse) => void) =>
  listen(t, createHttpServer(run))

/** A server that says these bytes to every request, and may go on. */
const serveRaw = (t: TestContext, text: string, more: (socket: Socket) => void = () => {}) =>
  listen(
    t,
    createServer((socket) =>
      socket.once('data', () => {
        socket.write(text, 'latin1')
        more(socket)
      }),
    ),
  )

interface Head {
  headers: string[]
  hasBody: boolean
  url: string
  redirected: boolean
}

class Fetched {
  readonly fetch: OutboundFetch
  head: Head | undefined
  body = Buffer.alloc(0)
  bytes = 0
  error = ''
  readonly over: Promise<void>
  #over!: () => void
  #looks: (() => void)[] = []

  /** `credit`: whether what comes is used. */
  constructor(
    parts: { network: TenantNetwork; agent: Dispatcher },
    url: string,
    credit = true,
    more: Record<string, unknown> = {},
  ) {
    this.over = new Promise((resolve) => (this.#over = resolve))
    const argument = { method: 'GET', url, redirect: 'follow', headers: [], body: null, streamed: false, ...(more as object) }
    this.fetch = new OutboundFetch(readRequest(argument, '', 'skep-1'), parts.network, {
      done: (result) => {
        this.head = result as unknown as Head
        if (!this.head.hasBody) this.#over()
      },
      chunk: (chunk) => {
        this.bytes += chunk.length
        if (this.bytes <= 1_000_000) this.body = Buffer.concat([this.body, chunk])
        if (credit) setImmediate(() => this.fetch.credit(chunk.length))
        for (const look of this.#looks) look()
      },
      ended: () => this.#over(),
      failed: (_, message) => {
        this.error = message
        this.#over()
      },
      credit: () => {},
    })
    this.fetch.begin(parts.agent)
  }

  until(ready: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = () => ready() && resolve()
      this.#looks.push(look)
      look()
    })
  }
}

async function get(
  parts: { network: TenantNetwork; agent: Dispatcher },
  url: string,
  more?: Record<string, unknown>,
): Promise<Fetched> {
  const fetched = new Fetched(parts, url, true, more)
  await fetched.over
  return fetched
}

suite('what servers answer', () => {
  test('every coding, alone and twice; garbage and unknown ones', async (t) => {
    const parts = open(t)
    const text = 'packed '.repeat(100)
    const bodies: Record<string, Uint8Array> = {
      gzip: gzipSync(text),
      'x-gzip': gzipSync(text),
      GZIP: gzipSync(text),
      deflate: deflateSync(text),
      ' deflate': deflateRawSync(text),
      br: brotliCompressSync(text),
      zstd: zstdCompressSync(text),
      'gzip, br': brotliCompressSync(gzipSync(text)),
      'identity, gzip': gzipSync(text),
    }
    const origin = await serve(t, (request, response) => {
      const coding = decodeURIComponent(request.url!.slice(1))
      response.writeHead(200, { 'content-encoding': coding, 'x-kept': '1' })
      response.end(bodies[coding] ?? 'as it is')
    })
    for (const coding of Object.keys(bodies)) {
      const { body, head, error } = await get(parts, `${origin}/${encodeURIComponent(coding)}`)
      assert.equal(error, '')
      assert.equal(body.toString(), text, coding)
      assert.ok(head!.headers.includes('x-kept') && !head!.headers.includes('content-encoding'), coding)
    }
    const unknown = await get(parts, `${origin}/compress`)
    assert.deepEqual([unknown.body.toString(), unknown.head!.headers.includes('content-encoding')], ['as it is', true])
    assert.match((await get(parts, `${origin}/br%2C%20gzip`)).error, /not packed as it says/)
    assert.match((await get(parts, `${origin}/gzip,gzip,gzip`)).error, /packed 3 times/)
    assert.equal((await get(parts, `${origin}/gzip`, { method: 'HEAD' })).error, '')
    assert.equal(parts.network.windows, 0)
  })

  test('a body that breaks off within its packing gives what it had', async (t) => {
    const parts = open(t)
    const packed = gzipSync('x'.repeat(1_000) + Math.random())
    const origin = await serve(t, (_, response) =>
      response.writeHead(200, { 'content-encoding': 'gzip' }).end(packed.subarray(0, -12)),
    )
    const { error, bytes } = await get(parts, origin)
    assert.deepEqual([error, bytes > 900], ['', true])
  })

  test('bombs: what unpacks a hundredfold ends at 16 MB, in one step or two; what is read slowly is unpacked slowly', async (t) => {
    const parts = open(t)
    const zeros = Buffer.alloc(60_000_000)
    const bombs: Record<string, Uint8Array> = {
      gzip: gzipSync(zeros),
      br: brotliCompressSync(zeros, { params: { [constants.BROTLI_PARAM_QUALITY]: 3 } }),
      zstd: zstdCompressSync(zeros),
      'gzip,gzip': gzipSync(gzipSync(zeros)),
    }
    const origin = await serve(t, (request, response) => {
      const coding = request.url!.slice(1)
      response.writeHead(200, { 'content-encoding': coding }).end(bombs[coding])
    })
    for (const coding of Object.keys(bombs)) {
      const { error, bytes } = await get(parts, `${origin}/${coding}`)
      assert.match(error, /unpacks to more than 100 times/, coding)
      assert.ok(bytes > 16_000_000 && bytes <= 16_777_216, `${coding}: ${bytes}`)
    }
    const unread = new Fetched(parts, `${origin}/gzip`, false)
    await unread.until(() => unread.bytes >= INITIAL_CREDIT)
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
    assert.ok(unread.bytes < INITIAL_CREDIT + 65_536, `${unread.bytes} bytes without room`)
    unread.fetch.cancel()
    assert.equal(parts.network.windows, 0)
  })

  test('a window of 128 MB is not had for the asking, nor many of brotli’s', async (t) => {
    const parts = open(t)
    const wide = zstdCompressSync(Buffer.alloc(20_000_000, 'abcdefg'), {
      params: { [constants.ZSTD_c_windowLog]: 27, [constants.ZSTD_c_contentSizeFlag]: 0 },
    })
    const origin = await serve(t, (request, response) => {
      response.writeHead(200, { 'content-encoding': request.url!.slice(1) })
      response.write(request.url === '/zstd' ? wide : brotliCompressSync('x'))
    })
    assert.match((await get(parts, `${origin}/zstd`)).error, /not packed as it says/)
    const held = Array.from({ length: 33 }, () => new Fetched(parts, `${origin}/br`))
    await Promise.race(held.map(({ over }) => over))
    assert.equal(held.filter(({ error }) => error.includes('too many packed answers')).length, 1)
    for (const { fetch } of held) fetch.cancel()
    assert.equal(parts.network.windows, 0)
  })

  const endless = (piece: string) => (socket: Socket) => {
    const write = () => {
      while (!socket.destroyed && socket.write(piece.repeat(1_000), 'latin1'));
    }
    socket.on('drain', write)
    write()
  }
  const closed = (t: TestContext, text: string, piece: string) => {
    let resolve!: () => void
    const isClosed = new Promise<void>((done) => (resolve = done))
    const more = (socket: Socket) => {
      socket.on('close', resolve)
      endless(piece)(socket)
    }
    return { origin: serveRaw(t, text, more), isClosed }
  }

  for (const [what, text, piece, error] of [
    ['headers', 'HTTP/1.1 200 OK\r\n', 'x-a: b\r\n', /UND_ERR_HEADERS_OVERFLOW/],
    ['one header', 'HTTP/1.1 200 OK\r\nx-a: ', 'aaaaaaaa', /UND_ERR_HEADERS_OVERFLOW/],
    ['interim answers', '', 'HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n', /interim answers without end/],
    ['trailers', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n', 'x-a: b\r\n', /UND_ERR_HEADERS_OVERFLOW/],
    ['nonsense', '', 'nonsense', /does not match the HTTP/],
    [
      'a protocol of its own',
      'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n',
      'x',
      /UND_ERR_SOCKET/,
    ],
  ] as const) {
    test(`${what} without end: the fetch fails, and the connection is gone`, async (t) => {
      const parts = open(t)
      const { origin, isClosed } = closed(t, text, piece)
      assert.match((await get(parts, await origin)).error, error)
      await isClosed
    })
  }

  for (const [what, text, piece] of [
    ['a body', 'HTTP/1.1 200 OK\r\n\r\n', 'aaaaaaaa'],
    ['chunk extensions', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5', ';a=b'],
    ['a reason', 'HTTP/1.1 200 ', 'aaaaaaaa'],
    ['silence', '', ''],
    ['silence in a body', 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n', ''],
  ] as const) {
    test(`${what} without end is cut with its event, and bounded until then`, async (t) => {
      const parts = open(t)
      let socket!: Socket
      let isClosed!: Promise<void>
      const began = new Promise<void>((resolve) => {
        const origin = serveRaw(t, text, (connected) => {
          socket = connected
          isClosed = new Promise((done) => socket.once('close', () => done()))
          if (piece !== '') endless(piece)(socket)
          resolve()
        })
        void origin.then((url) => (fetched = new Fetched(parts, url, false)))
      })
      let fetched!: Fetched
      await began
      const before = process.memoryUsage().rss
      for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve))
      assert.ok(fetched.bytes < INITIAL_CREDIT + 131_072)
      assert.ok(process.memoryUsage().rss - before < 100_000_000)
      fetched.fetch.cancel()
      await isClosed
      assert.equal(fetched.error, '')
    })
  }

  test('redirects: to forbidden addresses, in a circle, with a body of their own; connections are used again', async (t) => {
    const parts = open(t)
    let connections = 0
    const server = createHttpServer((request, response) => {
      const to = (location: string, body = '') => response.writeHead(302, { location }).end(body)
      if (request.url === '/circle') to('/circle')
      else if (request.url === '/inside') to('http://0x7f.2:8080/')
      else if (request.url === '/big') to('/ok', 'x'.repeat(1_000_000))
      else if (request.url === '/file') to('file:///etc/passwd')
      else if (request.url === '/utf8') response.writeHead(302, { location: Buffer.from('/ok?é').toString('latin1') }).end()
      else response.end(`${request.method} ${request.url}`)
    })
    server.on('connection', () => connections++)
    const origin = await listen(t, server)
    assert.match((await get(parts, `${origin}/inside`)).error, /refused: 127.0.0.2 is not a public address/)
    assert.match((await get(parts, `${origin}/circle`)).error, /more than 20 times/)
    assert.match((await get(parts, `${origin}/file`)).error, /only http: and https:/)
    assert.ok(connections <= 4, `${connections} connections`)
    const big = await get(parts, `${origin}/big`)
    assert.deepEqual([big.body.toString(), big.head!.url, big.head!.redirected], ['GET /ok', `${origin}/ok`, true])
    assert.equal((await get(parts, `${origin}/utf8`)).body.toString(), 'GET /ok?%C3%A9')
  })

  test('HTTPS: a certificate that nobody vouches for is refused; HTTP/2 is not offered', async (t) => {
    const parts = open(t)
    let offered: string[] = []
    const server = createTlsServer({
      key: KEY,
      cert: CERTIFICATE,
      ALPNCallback: ({ protocols }) => ((offered = protocols), undefined),
    })
    server.on('tlsClientError', () => {})
    const origin = await listen(t, server)
    const { error } = await get(parts, origin.replace('http:', 'https:'))
    assert.match(error, /DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED|ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL/)
    assert.deepEqual(offered, ['http/1.1'])
  })

  test('connections: used again by their sandbox, never by another of the same tenant, and closed when idle', async (t) => {
    let open = 0
    let made = 0
    const server = createHttpServer((_, response) => response.writeHead(200, { 'keep-alive': 'timeout=3' }).end('ok'))
    server.keepAliveTimeout = 60_000
    let emptied!: () => void
    const isEmpty = new Promise<void>((resolve) => (emptied = resolve))
    server.on('connection', (socket: Socket) => {
      open++
      made++
      socket.on('close', () => --open === 0 && emptied())
    })
    const origin = await listen(t, server)
    const network = new Network({ allow: ['127.0.0.1'], deny: [] })
    const sandboxes = [0, 1].map(() => {
      const tenant = network.enter('acme', NONE)
      const agent = createAgent(tenant)
      t.after(() => agent.destroy())
      return { network: tenant, agent }
    })
    for (let round = 0; round < 3; round++) for (const sandbox of sandboxes) assert.equal((await get(sandbox, origin)).error, '')
    assert.deepEqual([made, sandboxes[0]!.network.sockets], [2, 2])
    await isEmpty
    while (sandboxes[0]!.network.sockets > 0) await new Promise((resolve) => setImmediate(resolve))
  })

  test('an upload that nobody reads takes what it was given room for, and is cut', async (t) => {
    const parts = open(t)
    const connected = Promise.withResolvers<Socket>()
    const origin = await listen(
      t,
      createServer((connection) => connected.resolve(connection.pause())),
    )
    const fetched = new Fetched(parts, origin, true, { method: 'POST', streamed: true })
    let sent = 0
    while (sent < INITIAL_CREDIT && fetched.fetch.chunk(new Uint8Array(65_536))) sent += 65_536
    assert.equal(sent, INITIAL_CREDIT)
    const socket = await connected.promise
    const closing = new Promise((resolve) => socket.on('close', resolve))
    fetched.fetch.cancel()
    socket.resume()
    await closing
  })
})
