import {
  charCodeAt,
  matches,
  regExpExec,
  stringIndexOf,
  stringLastIndexOf,
  stringSlice,
  stringToLowerCase,
} from './primordials.ts'
import { C0_SET, FRAGMENT_SET, PATH_SET, QUERY_SET, SPECIAL_QUERY_SET, USERINFO_SET, percentEncode } from './percent.ts'
import { parseHost } from './url-host.ts'
import { type UrlRecord, defaultPort } from './url-record.ts'

/**
 * What most URLs look like: nothing in them to encode, decode, lower-case, or resolve. The last label begins with a letter (else
 * it might be an IPv4 address), no label is ACE, no path segment begins with a dot, written out or encoded.
 */
const COMMON =
  /^(https?):\/\/((?:(?!xn--)[a-z0-9-]+\.)*(?!xn--)[a-z][a-z0-9-]*)(?::([1-9][0-9]{0,3}))?((?:\/(?!\.|%2[eE])[!$%&'()*+,\-.0-9:;=@A-Z[\]_a-z|~]*)*)(\?[!$%&()*+,\-./0-9:;=?@A-Z[\\\]^_`a-z{|}~]*)?(#[!#$%&'()*+,\-./0-9:;=?@A-Z[\\\]^_a-z{|}~]*)?$/

const SCHEME = /^[a-zA-Z][a-zA-Z0-9+.-]*:/
const TAB_OR_NEWLINE = /[\t\n\r]/
const DRIVE = /^[a-zA-Z][:|]$/
const STARTS_WITH_DRIVE = /^[a-zA-Z][:|](?:[/\\?#]|$)/
const NORMAL_DRIVE = /^\/[a-zA-Z]:$/
const FIRST_IS_DRIVE = /^\/[a-zA-Z]:(?:\/|$)/

/** The record, or null when the text is no URL. `text` is well formed. */
export function parseUrl(text: string, base: UrlRecord | null): UrlRecord | null {
  const common = regExpExec(COMMON, text)
  if (common === null) return parseAny(withoutTabs(trim(text)), base)
  const port = common[3]
  const query = common[5]
  const fragment = common[6]
  return {
    scheme: common[1]!,
    username: '',
    password: '',
    host: common[2]!,
    port: port === undefined || port === (common[1] === 'http' ? '80' : '443') ? '' : port,
    path: common[4] === '' ? '/' : common[4]!,
    opaque: false,
    query: query === undefined ? null : stringSlice(query, 1),
    fragment: fragment === undefined ? null : stringSlice(fragment, 1),
  }
}

function trim(text: string): string {
  let start = 0
  let end = text.length
  while (start < end && charCodeAt(text, start) <= 32) start++
  while (end > start && charCodeAt(text, end - 1) <= 32) end--
  return start === 0 && end === text.length ? text : stringSlice(text, start, end)
}

export function withoutTabs(text: string): string {
  if (!matches(TAB_OR_NEWLINE, text)) return text
  let result = ''
  let done = 0
  for (let i = 0; i < text.length; i++) {
    const unit = charCodeAt(text, i)
    if (unit !== 9 && unit !== 10 && unit !== 13) continue
    result += stringSlice(text, done, i)
    done = i + 1
  }
  return result + stringSlice(text, done)
}

function newRecord(scheme: string): UrlRecord {
  return { scheme, username: '', password: '', host: null, port: '', path: '', opaque: false, query: null, fragment: null }
}

function parseAny(text: string, base: UrlRecord | null): UrlRecord | null {
  const scheme = regExpExec(SCHEME, text)
  if (scheme === null) {
    if (base === null) return null
    if (base.opaque) return text[0] === '#' ? withFragment({ ...base }, stringSlice(text, 1)) : null
    return base.scheme === 'file' ? parseFile(newRecord('file'), text, base) : parseRelative(text, base)
  }
  const url = newRecord(stringToLowerCase(stringSlice(scheme[0]!, 0, -1)))
  const rest = stringSlice(text, scheme[0]!.length)
  if (url.scheme === 'file') return parseFile(url, rest, base !== null && base.scheme === 'file' && !base.opaque ? base : null)
  if (defaultPort(url.scheme) !== undefined) {
    const relative = base !== null && base.scheme === url.scheme && !(rest[0] === '/' && rest[1] === '/')
    return relative ? parseRelative(rest, base) : parseAuthority(url, rest, skipSlashes(rest))
  }
  if (rest[0] !== '/') return parseOpaque(url, rest)
  return rest[1] === '/' ? parseAuthority(url, rest, 2) : finish(url, rest, 1)
}

function skipSlashes(text: string): number {
  let i = 0
  while (text[i] === '/' || text[i] === '\\') i++
  return i
}

function isSlash(character: string | undefined, special: boolean): boolean {
  return character === '/' || (special && character === '\\')
}

function parseRelative(text: string, base: UrlRecord): UrlRecord | null {
  const url = newRecord(base.scheme)
  const special = defaultPort(url.scheme) !== undefined
  if (isSlash(text[0], special)) {
    if (isSlash(text[1], special)) return parseAuthority(url, text, special ? skipSlashes(text) : 2)
    copyAuthority(url, base)
    return finish(url, text, 1)
  }
  copyAuthority(url, base)
  return resolve(url, text, base, true)
}

function copyAuthority(url: UrlRecord, base: UrlRecord): void {
  url.username = base.username
  url.password = base.password
  url.host = base.host
  url.port = base.port
}

/** A reference that begins with a path segment, a query or a fragment. */
function resolve(url: UrlRecord, text: string, base: UrlRecord, shortens: boolean): UrlRecord {
  url.path = base.path
  url.query = base.query
  if (text === '') return url
  if (text[0] === '#') return withFragment(url, stringSlice(text, 1))
  if (text[0] === '?') return finishFrom(url, text, 0)
  url.query = null
  url.path = shortens ? shorten(url.path, url.scheme) : ''
  return finish(url, text, 0)
}

function parseFile(url: UrlRecord, text: string, base: UrlRecord | null): UrlRecord | null {
  url.host = ''
  if (isSlash(text[0], true)) {
    if (isSlash(text[1], true)) return parseFileHost(url, text)
    if (base !== null) {
      url.host = base.host
      if (!matches(STARTS_WITH_DRIVE, stringSlice(text, 1)) && matches(FIRST_IS_DRIVE, base.path))
        url.path = stringSlice(base.path, 0, 3)
    }
    return finish(url, text, 1)
  }
  if (base === null) return finish(url, text, 0)
  url.host = base.host
  return resolve(url, text, base, !matches(STARTS_WITH_DRIVE, text))
}

function parseFileHost(url: UrlRecord, text: string): UrlRecord | null {
  const end = endOfAuthority(text, 2, true)
  const name = stringSlice(text, 2, end)
  // file://C:/ is a path.
  if (matches(DRIVE, name)) return finish(url, text, 2)
  if (name !== '') {
    const host = parseHost(name, false)
    if (host === null) return null
    url.host = host === 'localhost' ? '' : host
  }
  return finish(url, text, isSlash(text[end], true) ? end + 1 : end)
}

export function endOfAuthority(text: string, start: number, special: boolean): number {
  let i = start
  for (; i < text.length; i++) {
    const unit = charCodeAt(text, i)
    if (unit === 47 || unit === 63 || unit === 35 || (special && unit === 92)) break
  }
  return i
}

function parseAuthority(url: UrlRecord, text: string, start: number): UrlRecord | null {
  const special = defaultPort(url.scheme) !== undefined
  const end = endOfAuthority(text, start, special)
  let authority = stringSlice(text, start, end)
  const at = stringLastIndexOf(authority, '@')
  if (at >= 0) {
    const credentials = stringSlice(authority, 0, at)
    authority = stringSlice(authority, at + 1)
    if (authority === '') return null
    const colon = stringIndexOf(credentials, ':')
    url.username = percentEncode(colon < 0 ? credentials : stringSlice(credentials, 0, colon), USERINFO_SET)
    if (colon >= 0) url.password = percentEncode(stringSlice(credentials, colon + 1), USERINFO_SET)
  }
  const colon = portColon(authority)
  const name = colon < 0 ? authority : stringSlice(authority, 0, colon)
  if (name === '' && (special || colon >= 0)) return null
  url.host = parseHost(name, !special)
  if (url.host === null) return null
  if (colon >= 0) {
    const port = parsePort(stringSlice(authority, colon + 1), url.scheme)
    if (port === null) return null
    url.port = port
  }
  if (isSlash(text[end], special)) return finish(url, text, end + 1)
  if (!special && end === text.length) return url
  return special ? finish(url, text, end) : finishFrom(url, text, end)
}

/** The first colon that is not inside brackets. */
export function portColon(authority: string): number {
  let inside = false
  for (let i = 0; i < authority.length; i++) {
    const unit = charCodeAt(authority, i)
    if (unit === 91) inside = true
    else if (unit === 93) inside = false
    else if (unit === 58 && !inside) return i
  }
  return -1
}

export function parsePort(digits: string, scheme: string): string | null {
  let port = 0
  for (let i = 0; i < digits.length; i++) {
    const digit = charCodeAt(digits, i) - 48
    if (digit < 0 || digit > 9) return null
    port = port * 10 + digit
    if (port > 65535) return null
  }
  if (digits === '') return ''
  const text = `${port}`
  return text === defaultPort(scheme) ? '' : text
}

function parseOpaque(url: UrlRecord, text: string): UrlRecord {
  const end = endOfPath(text, 0)
  url.opaque = true
  url.path = percentEncode(stringSlice(text, 0, end), C0_SET)
  // A space at the end would be lost when the query and the fragment are.
  if (end < text.length && url.path[url.path.length - 1] === ' ') url.path = stringSlice(url.path, 0, -1) + '%20'
  return finishFrom(url, text, end)
}

function endOfPath(text: string, start: number): number {
  const query = stringIndexOf(text, '?', start)
  const fragment = stringIndexOf(text, '#', start)
  if (query < 0) return fragment < 0 ? text.length : fragment
  return fragment < 0 || query < fragment ? query : fragment
}

/** The segments that begin at `start` (behind a slash, if there is one) are added to the path; then query and fragment. */
function finish(url: UrlRecord, text: string, start: number): UrlRecord {
  const end = endOfPath(text, start)
  url.path = addSegments(url, stringSlice(text, start, end))
  return finishFrom(url, text, end)
}

/** The query and the fragment. */
function finishFrom(url: UrlRecord, text: string, start: number): UrlRecord {
  if (text[start] === '?') {
    const fragment = stringIndexOf(text, '#', start)
    url.query = encodeQuery(stringSlice(text, start + 1, fragment < 0 ? text.length : fragment), url.scheme)
    start = fragment < 0 ? text.length : fragment
  }
  return text[start] === '#' ? withFragment(url, stringSlice(text, start + 1)) : url
}

export function encodeQuery(text: string, scheme: string): string {
  return percentEncode(text, defaultPort(scheme) === undefined ? QUERY_SET : SPECIAL_QUERY_SET)
}

export function withFragment(url: UrlRecord, text: string): UrlRecord {
  url.fragment = percentEncode(text, FRAGMENT_SET)
  return url
}

/** The path of `url` with these segments behind it. */
export function addSegments(url: UrlRecord, text: string): string {
  const special = defaultPort(url.scheme) !== undefined
  const encoded = percentEncode(text, PATH_SET)
  const length = encoded.length
  let path = url.path
  for (let start = 0; start <= length;) {
    let end = start
    for (; end < length; end++) {
      const unit = charCodeAt(encoded, end)
      if (unit === 47 || (special && unit === 92)) break
    }
    let segment = stringSlice(encoded, start, end)
    const dots = segment[0] === '.' || segment[0] === '%' ? countDots(segment) : 0
    if (dots === 2) path = shorten(path, url.scheme)
    if (dots > 0) {
      if (end === length) path += '/'
    } else {
      if (path === '' && url.scheme === 'file' && matches(DRIVE, segment)) segment = segment[0]! + ':'
      path += '/' + segment
    }
    start = end + 1
  }
  return path
}

const DOTS = /^(?:\.|%2[eE])(\.|%2[eE])?$/

/** 1 for `.`, 2 for `..`, with each dot as it is or encoded; else 0. */
function countDots(segment: string): number {
  const match = regExpExec(DOTS, segment)
  return match === null ? 0 : match[1] === undefined ? 1 : 2
}

function shorten(path: string, scheme: string): string {
  if (scheme === 'file' && matches(NORMAL_DRIVE, path)) return path
  const last = stringLastIndexOf(path, '/')
  return last < 0 ? '' : stringSlice(path, 0, last)
}
