/**
 * CDN-Loop (RFC 8586): every outbound request names the hosts that it came through, so that a function that asks itself
 * does not do so for ever.
 */

const FIELD = 'cdn-loop'

/**
 * The field of a request's flat headers; '' where there is none. The host makes one of several, and puts it among the last
 * two: looking through all would be paid by every request.
 */
export function loopOf(headers: readonly string[]): string {
  for (let at = headers.length - 2; at >= 0 && at >= headers.length - 4; at -= 2)
    if (headers[at] === FIELD) return headers[at + 1]!
  return ''
}

/** How often a host of this id is in the field. */
export function passesIn(loop: string, id: string): number {
  if (loop === '') return 0
  return loop.split(',').filter((entry) => entry.split(';', 1)[0]!.trim().toLowerCase() === id).length
}

export function withPass(loop: string, id: string): string {
  return loop === '' ? id : `${loop}, ${id}`
}
