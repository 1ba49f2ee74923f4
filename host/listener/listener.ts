import type { ClientLimits } from './_limits.ts'

/**
 * What accepts HTTP requests and hands each to a handler as an `Exchange`. Implementations: uWebSockets.js, node:http,
 * and TLS with HTTP/2 and HTTP/1.1; `host.fetch()` and `toNodeHandler()` make exchanges too, without a listener.
 */
export interface Listener {
  readonly kind: 'uws' | 'node' | 'tls'
  /** The port it is bound to (the chosen one when 0 was asked for). */
  readonly port: number
  /**
   * Stops accepting, answers what is in flight (with `Connection: close`), closes idle keep-alive connections at once
   * and the others as they finish; after `graceMs` (default 30,000) what is left is cut. Idempotent.
   */
  close(graceMs?: number): Promise<void>
}

export interface ListenOptions {
  port: number
  /** Default '0.0.0.0'. */
  address?: string
  /** Set `SO_REUSEPORT`, so that several workers share the port. */
  shared?: boolean
  limits?: ClientLimits
  /** A connection was closed at once because there are `maxConnections` already. */
  refused?: () => void
  handler: (exchange: Exchange) => void
}

/** Header fields as [name, value, name, value, …]. Names are lower-case; a name may occur more than once. */
export type FlatHeaders = string[]

/**
 * One request and its answer. The handler is called once per well-formed request and must, before it returns, call
 * `respond`, `start` or `observe`. Malformed requests never reach the handler: the listener answers them (400, 413, 431
 * with `skep-error`) and closes the connection.
 */
export interface Exchange {
  readonly method: string
  /** Absolute: `http://hello.localhost:8080/path?query`. The path is as it was sent, save for what a URL may not hold. */
  readonly url: string
  /** From `Host` or the absolute request target: lower-case, no port, no trailing dot; `[…]` kept for IPv6. */
  readonly hostname: string
  /** No hop-by-hop fields (connection, keep-alive, transfer-encoding, upgrade, …). */
  readonly headers: FlatHeaders
  /** Plain text, IPv4 in IPv6 as IPv4. Empty when it is first read after the answer or the client's going. */
  readonly remoteAddress: string
  /** Bytes of the body: 0 for none (and then no `bodyChunk`), -1 when it is chunked and not known. */
  readonly bodyLength: number

  /** Names who hears of the body, of room to write, and of the client's going. At most once. */
  observe(observer: ExchangeObserver): void
  /**
   * Allows this many more bytes of the request body to be delivered (0 at first, so nothing comes unasked). The
   * listener may overshoot by what it has already read; it stops reading the socket while there is no credit.
   */
  grant(bytes: number): void
  /** Gives up the rest of the request body: it is read and thrown away up to a bound, then the connection is closed. */
  discardBody(): void

  /**
   * The whole answer at once. `headers` have no framing fields (content-length is set from the body; a `content-length`
   * in them is taken for HEAD only). Statuses 204, 205 and 304 and HEAD send no body. Throws a TypeError, before anything
   * is written, for a status, name or value that may not be; framing fields and `date` in `headers` are left out. A second
   * answer is ignored. What is left of the request's body is discarded.
   */
  respond(status: number, headers: FlatHeaders, body?: string | Uint8Array): void
  /** The head of a streamed answer; `write` and `end` or `abort` follow. It may leave only with the first chunk. */
  start(status: number, headers: FlatHeaders): void
  /**
   * False: enough for now, the observer's `drained` says when to go on. What was given is kept either way, and not the
   * caller's any more. `owned`: where the chunk is the whole of its buffer, the buffer may be emptied once it is out.
   */
  write(chunk: string | Uint8Array, owned?: boolean): boolean
  end(): void
  /** Cuts the connection, so that the client sees a broken answer and not a short one. */
  abort(): void
}

export interface ExchangeObserver {
  /** The bytes are the observer's to keep. An empty last chunk is possible. */
  bodyChunk(bytes: Uint8Array, last: boolean): void
  /** The client broke its body off or framed it wrongly; `aborted` follows when the connection is gone. */
  bodyFailed(reason: string): void
  drained(): void
  /** The client went away before the answer was complete. Nothing may be written any more (and is ignored if it is). */
  aborted(): void
}
