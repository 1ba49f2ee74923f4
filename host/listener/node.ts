/** The listener over node:http. It runs everywhere, and handles what uWebSockets refuses: HTTP/1.0, absolute targets. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { Server as NetServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { reasonPhrase } from './_headers.ts'
import {
  DEFAULT_GRACE_MS,
  IDLE_MS,
  LINGER_MS,
  MAX_HEADER_BYTES,
  MAX_HEADER_COUNT,
  MIN_BODY_BYTES_PER_IDLE,
  YOUNG_MS,
} from './_limits.ts'
import { NodeExchange, type NodeHead, type NodeTraffic } from './_node-exchange.ts'
import { bindingError } from './_ports.ts'
import { applyConnection, bodyLengthOf, encodeTarget, isHopByHop, isMethod, parseAuthority } from './_request.ts'
import { quietTurn, turn } from './_turns.ts'
import type { Exchange, Listener, ListenOptions } from './listener.ts'

export async function listenNode(options: ListenOptions): Promise<Listener> {
  const listener = new NodeListener(options.handler)
  await listener.bind(options.address ?? '0.0.0.0', options.port, options.shared ?? false)
  return listener
}

const embedded: NodeTraffic = { draining: false, inFlight: 0, settled: () => {} }

/**
 * A request of somebody else's node:http server. Undefined when it was malformed: then it is answered. The server's own
 * timeouts and limits hold.
 */
export function nodeExchange(req: IncomingMessage, res: ServerResponse): Exchange | undefined {
  const head = readHead(req)
  if (typeof head === 'string') {
    refuse(res, head)
    return undefined
  }
  return new NodeExchange(embedded, req, res, head)
}

class NodeListener implements Listener {
  readonly kind = 'node'
  port = 0
  #server: Server
  #handler: ListenOptions['handler']
  #lastOpened = 0
  #connections = new Set<Socket>()
  #closing: Promise<void> | undefined
  #settled: (() => void) | undefined
  #reading = new Map<IncomingMessage, { socket: Socket; bytes: number; since: number }>()
  #stalled = new WeakMap<Socket, { written: number; since: number }>()
  #refused = new WeakSet<Socket>()
  #sweep: NodeJS.Timeout
  #traffic: NodeTraffic = {
    draining: false,
    inFlight: 0,
    settled: () => this.#settled?.(),
    watch: (req, reading) => {
      if (reading) this.#reading.set(req, { socket: req.socket, bytes: req.socket.bytesRead, since: performance.now() })
      else this.#reading.delete(req)
    },
  }

  constructor(handler: ListenOptions['handler']) {
    this.#handler = handler
    this.#server = createServer({
      maxHeaderSize: MAX_HEADER_BYTES,
      // Checked here, so that the answer has its code.
      requireHostHeader: false,
      headersTimeout: IDLE_MS,
      keepAliveTimeout: IDLE_MS,
      // A whole request may take long when it is large; its pace is what is bounded.
      requestTimeout: 0,
      connectionsCheckingInterval: 2000,
      noDelay: true,
    })
    // 0 is no limit. With one, node:http leaves headers out without a word.
    this.#server.maxHeadersCount = 0
    this.#server.on('request', (req, res) => this.#request(req, res))
    this.#server.on('connection', (socket) => this.#opened(socket))
    this.#server.on('clientError', refuseSocket)
    this.#server.on('connect', (_req, socket: Duplex) => endSocket(socket, 400, 'bad_request'))
    this.#sweep = setInterval(() => this.#cutSlow(), 2000).unref()
  }

  async bind(address: string, port: number, shared: boolean): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (error) => {
        clearInterval(this.#sweep)
        reject(bindingError({ port, address, shared }, error))
      })
      // Where the kernel does not spread connections over sockets, workers share the supervisor's, by way of the cluster module.
      const spread = process.platform === 'linux'
      this.#server.listen({ port, host: address, exclusive: spread || !shared, reusePort: shared && spread }, resolve)
    })
    this.#server.removeAllListeners('error')
    this.#server.on('error', (error) => console.error('skep: the listener failed to accept a connection', error))
    this.port = (this.#server.address() as AddressInfo).port
  }

  #opened(socket: Socket): void {
    this.#connections.add(socket)
    this.#lastOpened = performance.now()
    socket.once('close', () => {
      this.#connections.delete(socket)
      if (this.#connections.size === 0) this.#settled?.()
    })
  }

  #request(req: IncomingMessage, res: ServerResponse): void {
    // node:http goes on to parse what follows a refused request, which may be the body of what was not understood.
    if (this.#refused.has(req.socket)) return
    const head = readHead(req)
    if (typeof head === 'string') {
      this.#refused.add(req.socket)
      return refuse(res, head)
    }
    const exchange = new NodeExchange(this.#traffic, req, res, head)
    try {
      this.#handler(exchange)
    } catch (error) {
      console.error('skep: a request handler threw', error)
      exchange.respond(500, ['skep-error', 'internal'], reasonPhrase(500))
    }
  }

  /** Bodies that trickle, and answers that are not taken. */
  #cutSlow(): void {
    const now = performance.now()
    for (const [req, mark] of this.#reading) {
      if (mark.socket.destroyed) {
        this.#reading.delete(req)
      } else if (mark.socket.bytesRead - mark.bytes >= MIN_BODY_BYTES_PER_IDLE) {
        mark.bytes = mark.socket.bytesRead
        mark.since = now
      } else if (now - mark.since >= IDLE_MS) {
        this.#reading.delete(req)
        mark.socket.destroy()
      }
    }
    for (const socket of this.#connections) {
      const written = socket.bytesWritten - socket.writableLength
      const seen = this.#stalled.get(socket)
      if (socket.writableLength === 0) this.#stalled.delete(socket)
      else if (seen === undefined || seen.written !== written) this.#stalled.set(socket, { written, since: now })
      else if (now - seen.since >= IDLE_MS) socket.destroy()
    }
  }

  close(graceMs = DEFAULT_GRACE_MS): Promise<void> {
    return (this.#closing ??= this.#drain(graceMs))
  }

  async #drain(graceMs: number): Promise<void> {
    this.#traffic.draining = true
    await quietTurn()
    const closed = new Promise<void>((resolve) => stopAccepting(this.#server, resolve))
    const began = performance.now()
    const deadline = began + graceMs
    const patience = () => Math.max(began + LINGER_MS, this.#lastOpened + YOUNG_MS)
    for (;;) {
      await turn()
      if (this.#connections.size === 0) break
      const now = performance.now()
      if (now >= deadline) break
      if (this.#traffic.inFlight > 0) await this.#change(deadline - now)
      else if (now < Math.min(deadline, patience())) await this.#change(Math.min(deadline, patience()) - now)
      else break
    }
    this.#server.closeAllConnections()
    clearInterval(this.#sweep)
    // Ends the timers of node:http's own; that the socket is closed already is no error here.
    this.#server.close(() => {})
    await closed
  }

  /** Until nothing is in flight, or nobody is connected, or this long. */
  #change(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#settled?.(), Math.max(1, ms))
      this.#settled = () => {
        clearTimeout(timer)
        this.#settled = undefined
        resolve()
      }
    })
  }
}

/** Without cutting idle connections, as `Server.close` of node:http does: their next request may be on its way. */
function stopAccepting(server: Server, closed: () => void): void {
  NetServer.prototype.close.call(server, () => closed())
}

type Refusal = 'bad_request' | 'headers_too_large'

function refuse(res: ServerResponse, code: Refusal): void {
  const status = code === 'headers_too_large' ? 431 : 400
  const body = reasonPhrase(status)
  res.writeHead(status, ['skep-error', code, 'content-length', String(body.length), 'connection', 'close'])
  res.end(body, () => res.req.socket.destroySoon())
}

function refuseSocket(error: NodeJS.ErrnoException, socket: Duplex): void {
  // Timeouts and resets get no answer, nor does a client whose answer has begun.
  const answering = (socket as Duplex & { _httpMessage?: ServerResponse })._httpMessage?.headersSent === true
  if (!error.code?.startsWith('HPE_') || !socket.writable || answering) socket.destroy()
  else if (error.code === 'HPE_HEADER_OVERFLOW') endSocket(socket, 431, 'headers_too_large')
  else endSocket(socket, 400, 'bad_request')
}

function endSocket(socket: Duplex, status: number, code: Refusal): void {
  const phrase = reasonPhrase(status)
  const head = `HTTP/1.1 ${status} ${phrase}\r\nskep-error: ${code}\r\nconnection: close\r\ncontent-length: ${phrase.length}`
  socket.once('error', () => {})
  socket.end(`${head}\r\n\r\n${phrase}`, () => socket.destroy())
}

function readHead(req: IncomingMessage): NodeHead | Refusal {
  const raw = req.rawHeaders
  if (raw.length > MAX_HEADER_COUNT * 2) return 'headers_too_large'
  const headers: string[] = []
  let host: string | undefined
  let hosts = 0
  let connection: string | undefined
  let length: string | undefined
  let lengths = 0
  let encoding: string | undefined
  let encodings = 0
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i]!.toLowerCase()
    const value = raw[i + 1]!
    switch (name) {
      case 'connection':
        connection = connection === undefined ? value : `${connection},${value}`
        continue
      case 'transfer-encoding':
        encoding = value
        encodings++
        continue
      case 'content-length':
        length = value
        lengths++
        break
      case 'host':
        host = value
        hosts++
        break
      default:
        if (isHopByHop(name)) continue
    }
    headers.push(name, value)
  }
  const old = req.httpVersionMajor === 1 && req.httpVersionMinor === 0
  if (hosts > 1) return 'bad_request'
  const bodyLength = bodyLengthOf(length, lengths, encoding, encodings)
  let target = req.url!
  if (target[0] !== '/') {
    // RFC 9112: the authority of an absolute target outranks Host.
    const absolute = /^https?:\/\/([^/?#]*)(.*)$/i.exec(target)
    if (absolute === null) return 'bad_request'
    host = absolute[1]!
    target = absolute[2]!.startsWith('/') ? absolute[2]! : `/${absolute[2]!}`
  }
  const authority = host === undefined ? undefined : parseAuthority(host)
  const path = encodeTarget(/[\x80-\xff]/.test(target) ? Buffer.from(target, 'latin1').toString() : target)
  const method = req.method!
  if (authority === undefined || path === undefined || bodyLength === undefined || !isMethod(method)) return 'bad_request'
  const options = connection === undefined ? undefined : applyConnection(connection, headers)
  return {
    method,
    url: authority.origin + path,
    hostname: authority.hostname,
    headers,
    bodyLength,
    closes: options?.close ?? (old && options?.keepAlive !== true),
  }
}
