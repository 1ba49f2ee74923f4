/**
 * Heads of answers. They come from tenant code: a name or value that could end its line early would let a tenant write
 * headers, or whole answers, in the host's name, so nothing is written before all of them are checked.
 */
import { STATUS_CODES } from 'node:http'
import type { FlatHeaders } from './listener.ts'

const NAME = /^[a-z0-9!#$%&'*+.^_`|~-]+$/
const BAD_VALUE = /[^\t\x20-\x7e\x80-\xff]/
const NOT_ASCII = /[\x80-\xff]/

/** Framing and connection are the listener's, and so is the clock. */
const OURS = new Set([
  'connection',
  'content-length',
  'date',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

const statusLines = new Map<number, string>()
for (const [code, phrase] of Object.entries(STATUS_CODES)) statusLines.set(Number(code), `${code} ${phrase}`)

export function checkStatus(status: number): void {
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    throw new TypeError(`${String(status)} is not a status of a final answer`)
  }
}

export function statusLine(status: number): string {
  return statusLines.get(status) ?? `${status} Unknown`
}

export function reasonPhrase(status: number): string {
  return STATUS_CODES[status] ?? 'Unknown'
}

function check(name: string, value: string | undefined): asserts value is string {
  if (!NAME.test(name)) throw new TypeError(`${JSON.stringify(name)} is not a lower-case header name`)
  if (typeof value !== 'string' || BAD_VALUE.test(value)) throw new TypeError(`header ${name} has a value that is not allowed`)
}

/** Status and header lines as one text, without the last line end: uWebSockets takes them in one call. */
export function headText(status: number, headers: FlatHeaders): string {
  checkStatus(status)
  let text = statusLine(status)
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!
    const value = headers[i + 1]
    check(name, value)
    if (!OURS.has(name)) text += `\r\n${name}: ${value}`
  }
  return text
}

/** uWebSockets writes strings as UTF-8, and header values are bytes. */
export function headBytes(text: string): string | Uint8Array {
  return NOT_ASCII.test(text) ? Buffer.from(text, 'latin1') : text
}

/** The same headers, checked, without those that are the listener's. */
export function ownHeaders(status: number, headers: FlatHeaders): string[] {
  checkStatus(status)
  const own: string[] = []
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!
    const value = headers[i + 1]
    check(name, value)
    if (!OURS.has(name)) own.push(name, value)
  }
  return own
}

/** Whether a value has bytes above ASCII: node:http writes head and text together, and then as UTF-8. */
export function hasHighBytes(headers: FlatHeaders): boolean {
  for (let i = 1; i < headers.length; i += 2) if (NOT_ASCII.test(headers[i]!)) return true
  return false
}

/** What an answer to HEAD says the length is: its own header, or the body it came with. */
export function headLength(headers: FlatHeaders, body: string | Uint8Array | undefined): number | undefined {
  for (let i = 0; i < headers.length; i += 2) {
    if (headers[i] === 'content-length') return /^\d{1,15}$/.test(headers[i + 1]!) ? Number(headers[i + 1]) : undefined
  }
  return body === undefined ? undefined : byteLength(body)
}

export function byteLength(body: string | Uint8Array): number {
  return typeof body === 'string' ? Buffer.byteLength(body) : body.byteLength
}

/** 204 and 304 have no body and no length, 205 has a length of 0. */
export function isBodiless(status: number): boolean {
  return status === 204 || status === 304 || status === 205
}
