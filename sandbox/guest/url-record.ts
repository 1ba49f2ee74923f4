/** A parsed URL, its parts serialised. */
export interface UrlRecord {
  /** Without the colon. */
  scheme: string
  username: string
  password: string
  host: string | null
  /** '' for the scheme's default. */
  port: string
  /** A list path with its leading slashes (an empty list is ''), or an opaque path. */
  path: string
  opaque: boolean
  query: string | null
  fragment: string | null
}

/** Port by special scheme; '' for file, undefined for schemes that are not special. */
export function defaultPort(scheme: string): string | undefined {
  switch (scheme) {
    case 'https':
    case 'wss':
      return '443'
    case 'http':
    case 'ws':
      return '80'
    case 'ftp':
      return '21'
    case 'file':
      return ''
    default:
      return undefined
  }
}

export function isSpecial(url: UrlRecord): boolean {
  return defaultPort(url.scheme) !== undefined
}

export function hostAndPort(url: UrlRecord): string {
  return url.host === null ? '' : url.port === '' ? url.host : url.host + ':' + url.port
}

export function serializeUrl(url: UrlRecord): string {
  let text = url.scheme + ':'
  if (url.host !== null) {
    text += '//'
    if (url.username !== '' || url.password !== '') {
      text += url.username + (url.password === '' ? '' : ':' + url.password) + '@'
    }
    text += hostAndPort(url)
  } else if (!url.opaque && url.path[0] === '/' && url.path[1] === '/') {
    // Without a host, a path that begins with two slashes would read as one.
    text += '/.'
  }
  text += url.path
  if (url.query !== null) text += '?' + url.query
  if (url.fragment !== null) text += '#' + url.fragment
  return text
}
