/**
 * The listener over TLS: HTTP/2 where the client offers it, else HTTP/1.1, by Node's own servers. uWebSockets.js cannot
 * do it: its TLS has no ALPN, no minimum version to set, compares server names by case, and takes a key that is not
 * its certificate's.
 */
import { constants } from 'node:crypto'
import { createSecureServer } from 'node:http2'
import type { Http2SecureServer, Http2Session, IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { H2Sessions } from './_h2-sessions.ts'
import {
  HANDSHAKE_MS,
  MAX_BAD_FRAMES,
  MAX_HEADER_BYTES,
  MAX_HEADER_COUNT,
  MAX_OUTSTANDING,
  MAX_STREAMS,
  RESET_BURST,
  RESET_RATE,
  SESSION_MEMORY_MB,
} from './_limits.ts'
import { NodeListener } from './_node-listener.ts'
import { Contexts, type Credential, type TlsVersion } from './certificates.ts'
import { http1Options } from './node.ts'
import type { Listener, ListenOptions } from './listener.ts'

export interface TlsOptions {
  credentials: Credential[]
  /** Default '1.2'. */
  minVersion?: TlsVersion
}

export interface TlsListener extends Listener {
  /** New handshakes use these. Throws where they cannot be used, and then the old ones stay. */
  renew(credentials: Credential[]): void
}

export async function listenTls(options: ListenOptions & { tls: TlsOptions }): Promise<TlsListener> {
  const contexts = new Contexts(options.tls.credentials, options.tls.minVersion ?? '1.2')
  const server = createSecureServer({
    ...http1Options(options.limits),
    ...contexts.fallbackOptions,
    allowHTTP1: true,
    SNICallback: (name, done) => done(null, contexts.find(name)),
    handshakeTimeout: HANDSHAKE_MS,
    // A client could have the most costly part of a handshake done again and again.
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
    settings: { maxConcurrentStreams: MAX_STREAMS, maxHeaderListSize: MAX_HEADER_BYTES * 2, enableConnectProtocol: false },
    // Twice ours, so that what is a little too much gets an answer that says so.
    maxHeaderListPairs: MAX_HEADER_COUNT * 2,
    maxSessionInvalidFrames: MAX_BAD_FRAMES,
    maxSessionRejectedStreams: MAX_BAD_FRAMES,
    maxSessionMemory: SESSION_MEMORY_MB,
    maxOutstandingPings: MAX_OUTSTANDING,
    maxSettings: MAX_OUTSTANDING,
    streamResetBurst: RESET_BURST,
    streamResetRate: RESET_RATE,
    // A tenant may give one field twice; what it means is between it and its client.
    strictSingleValueFields: false,
  })
  const listener = new TlsNodeListener(server, contexts, options)
  await listener.bind(options.address ?? '0.0.0.0', options.port, options.shared ?? false)
  return listener
}

class TlsNodeListener extends NodeListener implements TlsListener {
  readonly #server: Http2SecureServer
  readonly #contexts: Contexts
  readonly #sessions: H2Sessions
  readonly #secured = new Set<TLSSocket>()

  constructor(server: Http2SecureServer, contexts: Contexts, options: ListenOptions) {
    super('tls', server, options)
    this.#server = server
    this.#contexts = contexts
    this.#sessions = new H2Sessions(this.traffic)
    // Listening for `request` has made Node wrap every HTTP/2 stream in an imitation of HTTP/1.1: ours takes its place.
    server.removeAllListeners('stream')
    server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, _flags: number, raw: string[]) => {
      const exchange = this.#sessions.exchange(stream, headers, raw)
      if (exchange !== undefined) this.handle(exchange)
    })
    server.on('session', (session: Http2Session) => this.#sessions.opened(session))
    server.on('sessionError', (_error: Error, session: Http2Session) => session.destroy())
    server.on('secureConnection', (socket: TLSSocket) => {
      this.#secured.add(socket)
      socket.once('close', () => this.#secured.delete(socket))
    })
  }

  renew(credentials: Credential[]): void {
    this.#contexts.renew(credentials)
    this.#server.setSecureContext(this.#contexts.fallbackOptions)
  }

  protected override cutSlow(now: number): void {
    super.cutSlow(now)
    this.#sessions.cutSlow(now, this.limits.idleMs)
  }

  protected override answered(): Iterable<Socket> {
    return this.#secured
  }

  protected override drains(): void {
    this.#sessions.drain()
  }
}
