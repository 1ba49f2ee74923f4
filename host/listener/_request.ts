/** What both listeners make of a request's target and headers, so that a function sees the same through either. */
import { METHODS } from 'node:http'
import { isIPv6 } from 'node:net'
import type { FlatHeaders } from './listener.ts'

const methods = new Set(METHODS)
methods.delete('CONNECT')

export function isMethod(method: string): boolean {
  return methods.has(method)
}

const HOP_BY_HOP = new Set([
  'connection',
  'expect',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

export function isHopByHop(name: string): boolean {
  return HOP_BY_HOP.has(name)
}

export interface ConnectionHeader {
  close: boolean
  keepAlive: boolean
}

/** Takes the fields that a Connection header names out of the list. Keep-alive, close and upgrade alone name none. */
export function applyConnection(value: string, headers: FlatHeaders): ConnectionHeader {
  const lower = value.toLowerCase()
  if (lower === 'keep-alive') return { close: false, keepAlive: true }
  if (lower === 'close') return { close: true, keepAlive: false }
  const found = { close: false, keepAlive: false }
  for (const part of lower.split(',')) {
    const option = part.trim()
    if (option === 'close') found.close = true
    else if (option === 'keep-alive') found.keepAlive = true
    // Host and framing are not the client's to take away.
    else if (option !== 'host' && option !== 'content-length' && option !== '') remove(headers, option)
  }
  return found
}

function remove(headers: FlatHeaders, name: string): void {
  for (let i = headers.length - 2; i >= 0; i -= 2) if (headers[i] === name) headers.splice(i, 2)
}

export interface Authority {
  /** `http://host:port` */
  origin: string
  /** `https://host:port` */
  secureOrigin: string
  hostname: string
}

const AUTHORITY = /^(?:([a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?)\.?|\[([0-9a-f:.]+)\])(?::(\d{1,5})?)?$/

/** Most requests of a process name few hosts. Bounded, because hosts are the client's to choose. */
let recent = new Map<string, Authority>()
const MOST_RECENT = 4096

/** Undefined when a Host header or an authority of a target is not one. */
export function parseAuthority(text: string): Authority | undefined {
  const known = recent.get(text)
  if (known !== undefined) return known
  const match = text.length <= 262 ? AUTHORITY.exec(text.toLowerCase()) : null
  if (match === null) return undefined
  const [, name, v6, port] = match
  if (v6 !== undefined && !isIPv6(v6)) return undefined
  if (name !== undefined && name.includes('..')) return undefined
  if (port !== undefined && Number(port) > 65_535) return undefined
  const hostname = name ?? `[${v6}]`
  const server = port === undefined ? hostname : `${hostname}:${port}`
  const authority = { hostname, origin: `http://${server}`, secureOrigin: `https://${server}` }
  if (recent.size >= MOST_RECENT) recent = new Map()
  recent.set(text, authority)
  return authority
}

const NEEDS_ENCODING = /[^!$-;=?-[\]_a-z~]/
const EACH_TO_ENCODE = /[^!$-;=?-[\]_a-z~]/gu

/** Takes decoded text. What a URL may not hold becomes percent-encoded; undefined when it was not valid UTF-8. */
export function encodeTarget(target: string): string | undefined {
  if (!NEEDS_ENCODING.test(target)) return target
  if (target.includes('\ufffd')) return undefined
  return target.replace(EACH_TO_ENCODE, percent)
}

function percent(character: string): string {
  const code = character.codePointAt(0)!
  return code < 0x80 ? `%${code.toString(16).toUpperCase().padStart(2, '0')}` : encodeURIComponent(character)
}

/**
 * Bytes of the body, -1 for chunked, undefined for framing that two parsers could read differently: what a smuggled
 * request lives from. `lengths` and `encodings` count the header fields.
 */
export function bodyLengthOf(
  length: string | undefined,
  lengths: number,
  encoding: string | undefined,
  encodings: number,
): number | undefined {
  if (encodings > 0) {
    return encodings === 1 && lengths === 0 && encoding!.toLowerCase() === 'chunked' ? -1 : undefined
  }
  if (lengths === 0) return 0
  return lengths === 1 && /^\d{1,15}$/.test(length!) ? Number(length) : undefined
}

/** Text of a 4 or 16 byte address; IPv4 in IPv6 is shown as IPv4. */
export function addressText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.')
  if (bytes.length !== 16) return ''
  if (isMapped(bytes)) return bytes.subarray(12).join('.')
  const groups: string[] = []
  for (let i = 0; i < 16; i += 2) groups.push(((bytes[i]! << 8) | bytes[i + 1]!).toString(16))
  const text = groups.join(':')
  // The longest run of zero groups is written `::`.
  let best = ''
  for (const run of text.match(/(?:^|:)0(?::0)+(?=:|$)/g) ?? []) if (run.length > best.length) best = run
  if (best === '') return text
  const at = text.indexOf(best)
  const before = text.slice(0, at)
  const after = text.slice(at + best.length).replace(/^:/, '')
  return `${before}::${after}`
}

function isMapped(bytes: Uint8Array): boolean {
  for (let i = 0; i < 10; i++) if (bytes[i] !== 0) return false
  return bytes[10] === 0xff && bytes[11] === 0xff
}

export function plainAddress(text: string): string {
  return text.startsWith('::ffff:') && text.includes('.') ? text.slice(7) : text
}
