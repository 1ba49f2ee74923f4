/** What a listener makes of one request's head before its handler sees anything of it. */
import { applyConnection, bodyLengthOf, encodeTarget, isHopByHop, isMethod, parseAuthority } from './_request.ts'
import type { FlatHeaders } from './listener.ts'

export interface RequestHead {
  method: string
  url: string
  hostname: string
  headers: FlatHeaders
  bodyLength: number
  /** The client wants the connection closed after the answer. */
  closes: boolean
  /** The values of all Connection fields. */
  connection: string | undefined
  /** It asked for another protocol, which it does not get. */
  upgrade: boolean
}

export type Refusal = 'bad_request' | 'headers_too_large'

/** One request's headers at a time are read, so one object serves them all. */
const scan = {
  headers: [] as string[],
  host: undefined as string | undefined,
  hosts: 0,
  connection: undefined as string | undefined,
  length: undefined as string | undefined,
  lengths: 0,
  encoding: undefined as string | undefined,
  encodings: 0,
  upgrade: false,
}

export function beginScan(): void {
  scan.headers = []
  scan.host = scan.connection = scan.length = scan.encoding = undefined
  scan.hosts = scan.lengths = scan.encodings = 0
  scan.upgrade = false
}

/** Names are in lower case. */
export function scanField(name: string, value: string): void {
  switch (name) {
    case 'connection':
      scan.connection = scan.connection === undefined ? value : `${scan.connection},${value}`
      return
    case 'transfer-encoding':
      scan.encoding = value
      scan.encodings++
      return
    case 'content-length':
      scan.length = value
      scan.lengths++
      break
    case 'host':
      scan.host = value
      scan.hosts++
      break
    case 'upgrade':
      scan.upgrade = true
      return
    default:
      if (isHopByHop(name)) return
  }
  scan.headers.push(name, value)
}

/** The head of what was scanned, or undefined where it is none. `target` is decoded text; `authority` outranks Host. */
export function headOf(method: string, target: string, secure: boolean, authority = scan.host): RequestHead | undefined {
  const { headers, connection } = scan
  const server = authority === undefined || scan.hosts > 1 ? undefined : parseAuthority(authority)
  const path = encodeTarget(target)
  const bodyLength = bodyLengthOf(scan.length, scan.lengths, scan.encoding, scan.encodings)
  if (server === undefined || path === undefined || bodyLength === undefined || !isMethod(method)) return undefined
  return {
    method,
    url: (secure ? server.secureOrigin : server.origin) + path,
    hostname: server.hostname,
    headers,
    bodyLength,
    closes: connection !== undefined && applyConnection(connection, headers).close,
    connection,
    upgrade: scan.upgrade,
  }
}
