/**
 * Takes `skep-…` fields out of a list: they are the host's word, and neither callers nor functions may say it for the
 * host. Throws a TypeError for a list that is no list of pairs or has more than `most` characters.
 */
export function stripOwnHeaders(headers: string[], most: number): void {
  let kept = 0
  let size = 0
  for (let at = 0; at < headers.length; at += 2) {
    const name = headers[at]!
    const value = headers[at + 1]
    if (value === undefined) throw new TypeError(`header ${name} has no value`)
    if (isOwn(name)) continue
    size += name.length + value.length + 4
    if (kept !== at) {
      headers[kept] = name
      headers[kept + 1] = value
    }
    kept += 2
  }
  if (size > most) throw new TypeError(`the headers have ${size} characters, more than ${most}`)
  headers.length = kept
}

/**
 * The same for a request, whose names are lower-case; also takes its `cdn-loop` fields out and returns them as one, ''
 * where there is none. Runs for every request: beside the length of a name it looks at little.
 */
export function takeRequestHeaders(headers: string[]): string {
  let kept = 0
  let loop = ''
  for (let at = 0; at < headers.length; at += 2) {
    const name = headers[at]!
    const { length } = name
    if (length > 5) {
      if (isOwn(name)) continue
      if (length === 8 && name === 'cdn-loop') {
        loop = loop === '' ? headers[at + 1]! : `${loop}, ${headers[at + 1]!}`
        continue
      }
    }
    if (kept !== at) {
      headers[kept] = name
      headers[kept + 1] = headers[at + 1]!
    }
    kept += 2
  }
  headers.length = kept
  return loop
}

/** In any case: a guest in hostile hands need not write it small. */
function isOwn(name: string): boolean {
  return name.length > 5 && (name.charCodeAt(0) | 32) === 115 && name.slice(0, 5).toLowerCase() === 'skep-'
}
