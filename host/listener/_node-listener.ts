/** What serves over a server of Node's: HTTP/1.1 in the clear or over TLS, and HTTP/2 by way of `stream`. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Http2SecureServer } from 'node:http2'
import { Server as NetServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { Drainage } from './_drainage.ts'
import { reasonPhrase } from './_headers.ts'
import { CLIENT_LIMITS, DEFAULT_GRACE_MS, MAX_STREAMS, MIN_BODY_BYTES_PER_MS, SWEEP_MS } from './_limits.ts'
import type { ClientLimits } from './_limits.ts'
import { NodeExchange, type NodeTraffic } from './_node-exchange.ts'
import { endSocket, readHead, refuse, refuseSocket } from './_node-head.ts'
import { bindingError } from './_ports.ts'
import { quietTurn } from './_turns.ts'
import type { Exchange, Listener, ListenOptions } from './listener.ts'

export class NodeListener implements Listener {
  readonly kind: 'node' | 'tls'
  port = 0
  protected readonly limits: ClientLimits
  protected readonly drainage = new Drainage()
  /** Raw ones: over TLS, those that are still in their handshake too. */
  protected readonly connections = new Set<Socket>()
  readonly #server: Server | Http2SecureServer
  readonly #handler: ListenOptions['handler']
  readonly #sweep: NodeJS.Timeout
  readonly #reading = new Map<IncomingMessage, { socket: Socket; bytes: number; since: number }>()
  readonly #stalled = new WeakMap<Socket, { written: number; since: number }>()
  readonly #refused = new WeakSet<Socket>()
  /** Requests that are not answered yet: node:http hands over all that were pipelined. */
  readonly #open = new WeakMap<Socket, number>()
  #lastOpened = 0
  #closing: Promise<void> | undefined
  protected readonly traffic: NodeTraffic = {
    draining: false,
    inFlight: 0,
    settled: () => this.drainage.changed(),
    watch: (req, reading) => {
      if (reading) this.#reading.set(req, { socket: req.socket, bytes: req.socket.bytesRead, since: performance.now() })
      else this.#reading.delete(req)
    },
  }

  constructor(kind: 'node' | 'tls', server: Server | Http2SecureServer, options: ListenOptions) {
    this.kind = kind
    this.limits = options.limits ?? CLIENT_LIMITS
    this.#server = server
    this.#handler = options.handler
    const { idleMs, maxConnections } = this.limits
    Object.assign(server, {
      headersTimeout: idleMs,
      keepAliveTimeout: idleMs,
      // A whole request may take long when it is large; its pace is what is bounded.
      requestTimeout: 0,
      // 0 is no limit. With one, node:http leaves headers out without a word.
      maxHeadersCount: 0,
      maxConnections,
    })
    const { refused } = options
    if (refused !== undefined) server.on('drop', refused)
    server.on('request', (req: IncomingMessage, res: ServerResponse) => this.#request(req, res))
    // Expectations other than 100-continue are none that we could meet or fail: uWebSockets passes over them, too.
    server.on('checkExpectation', (req: IncomingMessage, res: ServerResponse) => this.#request(req, res))
    server.on('connection', (socket: Socket) => this.#opened(socket))
    server.on('clientError', refuseSocket)
    server.on('connect', (_req: IncomingMessage, socket: Duplex) => endSocket(socket, 400, 'bad_request'))
    this.#sweep = setInterval(() => this.cutSlow(performance.now()), SWEEP_MS).unref()
  }

  async bind(address: string, port: number, shared: boolean): Promise<void> {
    const server = this.#server
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => {
        clearInterval(this.#sweep)
        reject(bindingError({ port, address, shared }, error))
      })
      // Where the kernel does not spread connections over sockets, workers share the supervisor's, by way of the cluster module.
      const spread = process.platform === 'linux'
      server.listen({ port, host: address, exclusive: spread || !shared, reusePort: shared && spread }, resolve)
    })
    server.removeAllListeners('error')
    server.on('error', (error) => console.error('skep: the listener failed to accept a connection', error))
    this.port = (server.address() as AddressInfo).port
  }

  #opened(socket: Socket): void {
    this.connections.add(socket)
    this.#lastOpened = performance.now()
    socket.once('close', () => {
      this.connections.delete(socket)
      if (this.connections.size === 0) this.drainage.changed()
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
    const { socket } = req
    const open = (this.#open.get(socket) ?? 0) + 1
    if (open > MAX_STREAMS) {
      socket.destroy()
      return
    }
    this.#open.set(socket, open)
    res.once('close', () => this.#open.set(socket, this.#open.get(socket)! - 1))
    this.handle(new NodeExchange(this.traffic, req, res, head))
  }

  protected handle(exchange: Exchange): void {
    try {
      this.#handler(exchange)
    } catch (error) {
      console.error('skep: a request handler threw', error)
      exchange.respond(500, ['skep-error', 'internal'], reasonPhrase(500))
    }
  }

  /** Bodies that trickle, and answers that are not taken. */
  protected cutSlow(now: number): void {
    const { idleMs } = this.limits
    for (const [req, mark] of this.#reading) {
      if (mark.socket.destroyed) {
        this.#reading.delete(req)
      } else if (mark.socket.bytesRead - mark.bytes >= MIN_BODY_BYTES_PER_MS * idleMs) {
        mark.bytes = mark.socket.bytesRead
        mark.since = now
      } else if (now - mark.since >= idleMs) {
        this.#reading.delete(req)
        mark.socket.destroy()
      }
    }
    for (const socket of this.answered()) {
      const written = socket.bytesWritten - socket.writableLength
      const seen = this.#stalled.get(socket)
      if (socket.writableLength === 0) this.#stalled.delete(socket)
      else if (seen === undefined || seen.written !== written) this.#stalled.set(socket, { written, since: now })
      else if (now - seen.since >= idleMs) socket.destroy()
    }
  }

  /** The sockets that answers of HTTP/1.1 are written to. */
  protected answered(): Iterable<Socket> {
    return this.connections
  }

  close(graceMs = DEFAULT_GRACE_MS): Promise<void> {
    return (this.#closing ??= this.#drain(graceMs))
  }

  /** The drain has begun: nothing new is accepted. */
  protected drains(): void {}

  async #drain(graceMs: number): Promise<void> {
    this.traffic.draining = true
    await quietTurn()
    const closed = new Promise<void>((resolve) => stopAccepting(this.#server, resolve))
    this.drains()
    await this.drainage.run(graceMs, {
      connections: () => this.connections.size,
      busy: () => this.traffic.inFlight > 0,
      lastOpened: () => this.#lastOpened,
    })
    for (const socket of this.answered()) socket.destroy()
    for (const socket of this.connections) socket.destroy()
    clearInterval(this.#sweep)
    // Ends the timers of node:http's own; that the socket is closed already is no error here.
    this.#server.close(() => {})
    await closed
  }
}

/** Without cutting idle connections, as `Server.close` of node:http does: their next request may be on its way. */
function stopAccepting(server: Server | Http2SecureServer, closed: () => void): void {
  NetServer.prototype.close.call(server, () => closed())
}
