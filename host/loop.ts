import { createHash } from 'node:crypto'

/**
 * How often a request may have come through functions of this deployment (`CDN-Loop`, RFC 8586) and still be served. Each
 * pass can multiply by as many outbound requests as an event may make.
 */
export const MOST_PASSES = 4

/** The same on all hosts of a store, so that a loop over several of them is one; it says nothing about where the store is. */
export function loopIdOf(store: { description: string }): string {
  return `skep-${createHash('sha256').update(`skep ${store.description}`).digest('hex').slice(0, 12)}`
}
