/**
 * CDN-Loop (RFC 8586): every outbound request names the hosts that it came through, so that a function that asks itself
 * does not do so for ever.
 */

const FIELD = 'cdn-loop'

/** The field of a request's flat headers, several as one; '' where there is none. Costs a comparison of lengths a field. */
export function loopOf(headers: readonly string[]): string {
  let value = ''
  for (let at = 0; at < headers.length; at += 2) {
    const name = headers[at]!
    if (name.length === FIELD.length && name === FIELD) value = value === '' ? headers[at + 1]! : `${value}, ${headers[at + 1]!}`
  }
  return value
}

/** How often a host of this id is in the field. */
export function passesIn(loop: string, id: string): number {
  if (loop === '') return 0
  return loop.split(',').filter((entry) => entry.split(';', 1)[0]!.trim().toLowerCase() === id).length
}

export function withPass(loop: string, id: string): string {
  return loop === '' ? id : `${loop}, ${id}`
}
