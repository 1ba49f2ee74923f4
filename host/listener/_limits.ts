/** What both listeners hold a client to. */

/** Request line and headers together, about: the two parsers count a little differently. */
export const MAX_HEADER_BYTES = 16_384
export const MAX_HEADER_COUNT = 98

/** Without a whole head, or progress in sending a body or taking the answer, a connection is cut after about this long. */
export const IDLE_MS = 30_000
/** A client that sends its body slower than this many bytes in IDLE_MS is cut too. */
export const MIN_BODY_BYTES_PER_IDLE = 491_520

/** How much of a body that nobody wants is read, so that the client gets to see its answer before the cut. */
export const DISCARD_BYTES = 4 * 1024 * 1024

/** A connection this young may have its first request on the way: a drain waits for it. */
export const YOUNG_MS = 250
/** How long a drain leaves idle keep-alive connections open: a request that comes meanwhile is answered, and told that it was the last. */
export const LINGER_MS = 1_000
export const DEFAULT_GRACE_MS = 30_000
