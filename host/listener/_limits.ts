/** What the listeners hold a client to. README.md has the table; `clients` of the configuration sets the first two. */

export interface ClientLimits {
  /** Connections of one listener; further ones are closed as they come. */
  maxConnections: number
  /** Without a whole head, or progress in sending a body or taking the answer, a connection is cut after about this long. */
  idleMs: number
}

export const CLIENT_LIMITS: ClientLimits = { maxConnections: 10_000, idleMs: 30_000 }

/** A client that sends its body more slowly than this, measured over `idleMs`, is cut. uWebSockets has the same built in. */
export const MIN_BODY_BYTES_PER_MS = 16.384

/** Request line and headers together, about: the two parsers count a little differently. */
export const MAX_HEADER_BYTES = 16_384
export const MAX_HEADER_COUNT = 98

/** How much of a body that nobody wants is read, so that the client gets to see its answer before the cut. */
export const DISCARD_BYTES = 4 * 1024 * 1024

/** How often slow clients are looked for, where no timer of their own watches them, ms. */
export const SWEEP_MS = 1_000

/** A client that has not finished its TLS handshake by now is cut, ms. */
export const HANDSHAKE_MS = 10_000

/** Requests of one connection at a time. HTTP/2 clients are told; one that pipelines more is cut. */
export const MAX_STREAMS = 128
/** HTTP/2: resets by the client that are borne at once, and per second after that (CVE-2023-44487). */
export const RESET_BURST = 200
export const RESET_RATE = 33
/** HTTP/2: frames that are wrong, and requests above MAX_STREAMS, until the connection is ended. */
export const MAX_BAD_FRAMES = 100
/** HTTP/2: what one connection may hold in this process's memory, MB: header tables, frames, unsent bytes. */
export const SESSION_MEMORY_MB = 4
/** HTTP/2: PINGs and SETTINGS that wait for their acknowledgement. */
export const MAX_OUTSTANDING = 10

/** A connection this young may have its first request on the way: a drain waits for it. */
export const YOUNG_MS = 250
/** How long a drain leaves idle keep-alive connections open: a request that comes meanwhile is answered, and told that it was the last. */
export const LINGER_MS = 1_000
export const DEFAULT_GRACE_MS = 30_000
