import { charCodeAt, regExpExec, stringIndexOf, stringSlice, stringToLowerCase } from './primordials.ts'
import { USERINFO_SET, percentEncode } from './percent.ts'
import { parseHost } from './url-host.ts'
import {
  addSegments,
  encodeQuery,
  endOfAuthority,
  parsePort,
  parseUrl,
  portColon,
  withFragment,
  withoutTabs,
} from './url-parser.ts'
import { type UrlRecord, defaultPort, hostAndPort, isSpecial, serializeUrl } from './url-record.ts'
import { type URLSearchParams, createLinkedParams, replaceParams } from './url-search-params.ts'
import { defineInterface, requireArguments, toUSVString } from './webidl.ts'

const LEADING_DIGITS = /^[0-9]+/
const SCHEME_ONLY = /^[a-zA-Z][a-zA-Z0-9+.-]*$/
const permit = {}

function parse(url: string, base: unknown): UrlRecord | null {
  if (base === undefined) return parseUrl(url, null)
  const parsed = parseUrl(toUSVString(base), null)
  return parsed === null ? null : parseUrl(url, parsed)
}

export let isUrl: (value: unknown) => value is URL

export class URL {
  #url: UrlRecord
  /** Serialised when it is first asked for; forgotten when a part is set. */
  #href: string | null = null
  #params: URLSearchParams | null = null

  constructor(url: string | URL, base?: unknown, parsed?: unknown) {
    if (base === permit) {
      this.#url = parsed as UrlRecord
      return
    }
    requireArguments(arguments.length, 1, 'URL constructor')
    const text = toUSVString(url)
    const record = parse(text, base)
    if (record === null) throw new TypeError(`Invalid URL: ${quote(text)}`)
    this.#url = record
  }
  static canParse(url: string | URL, base?: unknown): boolean {
    requireArguments(arguments.length, 1, 'URL.canParse')
    return parse(toUSVString(url), base) !== null
  }
  static parse(url: string | URL, base?: unknown): URL | null {
    requireArguments(arguments.length, 1, 'URL.parse')
    const record = parse(toUSVString(url), base)
    return record === null ? null : new URL('', permit, record)
  }

  get href(): string {
    return (this.#href ??= serializeUrl(this.#url))
  }
  set href(value: string) {
    const text = toUSVString(value)
    const record = parseUrl(text, null)
    if (record === null) throw new TypeError(`Invalid URL: ${quote(text)}`)
    this.#url = record
    this.#changed(true)
  }
  get origin(): string {
    const url = this.#url
    if (url.scheme === 'blob' && url.opaque) {
      const inner = parseUrl(url.path, null)
      return inner !== null && (inner.scheme === 'http' || inner.scheme === 'https')
        ? inner.scheme + '://' + hostAndPort(inner)
        : 'null'
    }
    return isSpecial(url) && url.scheme !== 'file' ? url.scheme + '://' + hostAndPort(url) : 'null'
  }
  get protocol(): string {
    return this.#url.scheme + ':'
  }
  set protocol(value: string) {
    const url = this.#url
    const text = withoutTabs(toUSVString(value))
    const colon = stringIndexOf(text, ':')
    const scheme = stringToLowerCase(colon < 0 ? text : stringSlice(text, 0, colon))
    if (regExpExec(SCHEME_ONLY, scheme) === null) return
    if (isSpecial(url) !== (defaultPort(scheme) !== undefined)) return
    if (scheme === 'file' && (url.username !== '' || url.password !== '' || url.port !== '')) return
    if (url.scheme === 'file' && url.host === '') return
    url.scheme = scheme
    if (url.port === defaultPort(scheme)) url.port = ''
    this.#changed(false)
  }
  get username(): string {
    return this.#url.username
  }
  set username(value: string) {
    const text = percentEncode(toUSVString(value), USERINFO_SET)
    if (this.#hasNoAuthority()) return
    this.#url.username = text
    this.#changed(false)
  }
  get password(): string {
    return this.#url.password
  }
  set password(value: string) {
    const text = percentEncode(toUSVString(value), USERINFO_SET)
    if (this.#hasNoAuthority()) return
    this.#url.password = text
    this.#changed(false)
  }
  get host(): string {
    return hostAndPort(this.#url)
  }
  set host(value: string) {
    this.#setHost(withoutTabs(toUSVString(value)), true)
  }
  get hostname(): string {
    return this.#url.host ?? ''
  }
  set hostname(value: string) {
    this.#setHost(withoutTabs(toUSVString(value)), false)
  }
  get port(): string {
    return this.#url.port
  }
  set port(value: string) {
    const text = toUSVString(value)
    if (this.#hasNoAuthority()) return
    if (text === '') this.#url.port = ''
    else this.#setPort(withoutTabs(text))
    this.#changed(false)
  }
  get pathname(): string {
    return this.#url.path
  }
  set pathname(value: string) {
    const text = withoutTabs(toUSVString(value))
    const url = this.#url
    if (url.opaque) return
    const special = isSpecial(url)
    const slash = text[0] === '/' || (special && text[0] === '\\')
    url.path = ''
    if (special || text !== '') url.path = addSegments(url, slash ? stringSlice(text, 1) : text)
    else if (url.host === null) url.path = '/'
    this.#changed(false)
  }
  get search(): string {
    const { query } = this.#url
    return query === null || query === '' ? '' : '?' + query
  }
  set search(value: string) {
    const text = toUSVString(value)
    this.#url.query =
      text === '' ? null : encodeQuery(withoutTabs(text[0] === '?' ? stringSlice(text, 1) : text), this.#url.scheme)
    this.#changed(true)
  }
  get searchParams(): URLSearchParams {
    return (this.#params ??= createLinkedParams(this.#url.query ?? '', (query) => {
      this.#url.query = query === '' ? null : query
      this.#changed(false)
    }))
  }
  get hash(): string {
    const { fragment } = this.#url
    return fragment === null || fragment === '' ? '' : '#' + fragment
  }
  set hash(value: string) {
    const text = toUSVString(value)
    if (text === '') this.#url.fragment = null
    else withFragment(this.#url, withoutTabs(text[0] === '#' ? stringSlice(text, 1) : text))
    this.#changed(false)
  }
  toString(): string {
    return (this.#href ??= serializeUrl(this.#url))
  }
  toJSON(): string {
    return (this.#href ??= serializeUrl(this.#url))
  }

  #changed(query: boolean): void {
    this.#href = null
    if (query && this.#params !== null) replaceParams(this.#params, this.#url.query ?? '')
  }
  /** It cannot have a username, password or port. */
  #hasNoAuthority(): boolean {
    const { host, scheme } = this.#url
    return host === null || host === '' || scheme === 'file'
  }
  #setPort(text: string): void {
    const digits = regExpExec(LEADING_DIGITS, text)
    const port = digits === null ? null : parsePort(digits[0]!, this.#url.scheme)
    if (port !== null) this.#url.port = port
  }
  #setHost(text: string, withPort: boolean): void {
    const url = this.#url
    if (url.opaque) return
    const special = isSpecial(url)
    const authority = stringSlice(text, 0, endOfAuthority(text, 0, special))
    const colon = url.scheme === 'file' ? -1 : portColon(authority)
    if (colon >= 0 && !withPort) return
    const name = colon < 0 ? authority : stringSlice(authority, 0, colon)
    if (name === '') {
      if (url.scheme !== 'file' && (special || colon >= 0 || url.username !== '' || url.password !== '' || url.port !== ''))
        return
      url.host = ''
    } else {
      const host = parseHost(name, !special)
      if (host === null) return
      url.host = host === 'localhost' && url.scheme === 'file' ? '' : host
      if (colon >= 0) this.#setPort(stringSlice(authority, colon + 1))
    }
    this.#changed(false)
  }

  static {
    isUrl = (value): value is URL => typeof value === 'object' && value !== null && #url in value
  }
}

defineInterface(URL)
for (const name of ['URL', 'canParse', 'parse'] as const) {
  Object.defineProperty(name === 'URL' ? URL : URL[name], 'length', { value: 1, configurable: true })
}

/** For an error's message: in bounds and on one line. */
function quote(text: string): string {
  for (let i = 0; i < text.length && i < 200; i++) if (charCodeAt(text, i) < 32) return '(with control characters)'
  return text.length > 200 ? stringSlice(text, 0, 200) + '…' : text
}
