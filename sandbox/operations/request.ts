import type { PlainObject } from '../protocol.ts'
import { withPass } from './cdn-loop.ts'

/** An outbound request as it will be sent. */
export interface OutboundRequest {
  method: string
  url: URL
  redirect: 'follow' | 'error' | 'manual'
  /** Flat. */
  headers: string[]
  body: string | Uint8Array | null
  streamed: boolean
}

/** Bytes of a request's head, and of its URL. */
const MOST_BYTES = 65_536
const MOST_FIELDS = 256

/**
 * Fields that frame a message or belong to one connection (RFC 9110, 7.6.1), or are the host's to set: never taken from a
 * function. No proxy is in between, so what is meant for one stays here. `Forwarded`, `X-Forwarded-*`, `Via` and `Cookie`
 * are the function's to send: only it knows for whom it asks.
 */
const REFUSED =
  /^(?:host|connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|http2-settings|content-length|expect|cdn-loop|skep-.*)$/
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/i
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/
/** `CONNECT` and `TRACE` would not be a request to the server that was judged. */
const FORBIDDEN_METHOD = /^(?:connect|trace|track)$/i

/** What the host says where the function does not. gzip and deflate have small windows; others are unpacked, too. */
const DEFAULTS = { accept: '*/*', 'accept-encoding': 'gzip, deflate', 'user-agent': 'skep' }

/** The guest's side may be in the tenant's hands: whatever is wrong here rejects the operation. `loop` and `id`: `CDN-Loop`. */
export function readRequest(argument: PlainObject, loop: string, id: string): OutboundRequest {
  const { method, url, redirect, headers, body } = argument
  if (typeof method !== 'string' || typeof url !== 'string' || !Array.isArray(headers)) throw new TypeError('a malformed request')
  if (body !== null && typeof body !== 'string' && !(body instanceof Uint8Array)) throw new TypeError('a malformed body')
  if (redirect !== 'follow' && redirect !== 'error' && redirect !== 'manual') throw new TypeError('a malformed redirect mode')
  if (!TOKEN.test(method) || FORBIDDEN_METHOD.test(method)) throw new TypeError(`there is no method ${method.slice(0, 20)}`)
  const streamed = argument.streamed === true
  const fields = readHeaders(headers, loop, id)
  // Of a stream whose length is known: undici holds it to that.
  if (streamed && Number.isSafeInteger(argument.length)) fields.push('content-length', String(argument.length))
  return { method, url: readUrl(url), redirect, headers: fields, body, streamed }
}

/** Of a request or a redirect. */
export function readUrl(text: string, base?: URL): URL {
  if (text.length > MOST_BYTES) throw new TypeError(`its URL has more than ${MOST_BYTES} characters`)
  let url: URL
  try {
    url = new URL(text, base)
  } catch {
    throw new TypeError('its URL is not valid')
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw new TypeError('only http: and https: URLs can be fetched')
  // Names that look like one host and carry another's before the @ are for people to be fooled with.
  if (url.username !== '' || url.password !== '') throw new TypeError('its URL has a user name or password')
  return url
}

function readHeaders(given: unknown[], loop: string, id: string): string[] {
  const headers = given as string[]
  const named = connectionOptions(headers)
  const kept: string[] = []
  const missing = new Set(Object.keys(DEFAULTS))
  let bytes = 0
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = String(headers[i]).toLowerCase()
    const value = String(headers[i + 1])
    if (REFUSED.test(name) || named.has(name)) continue
    if (!TOKEN.test(name) || !VALUE.test(value)) throw new TypeError(`its header ${name.slice(0, 50)} is not valid`)
    kept.push(name, value)
    bytes += name.length + value.length + 4
    missing.delete(name)
  }
  if (bytes > MOST_BYTES) throw new TypeError(`its headers have more than ${MOST_BYTES} bytes`)
  if (kept.length > 2 * MOST_FIELDS) throw new TypeError(`it has more than ${MOST_FIELDS} headers`)
  for (const name of missing) kept.push(name, DEFAULTS[name as keyof typeof DEFAULTS])
  kept.push('cdn-loop', withPass(loop, id))
  return kept
}

/** What `Connection` names is of the connection that it came by: a function may pass a request's fields on as they are. */
function connectionOptions(headers: string[]): Set<string> {
  const named = new Set<string>()
  for (let i = 0; i + 1 < headers.length; i += 2) {
    if (String(headers[i]).toLowerCase() !== 'connection') continue
    for (const option of String(headers[i + 1]).split(',')) named.add(option.trim().toLowerCase())
  }
  return named
}

/** Fields of a body, which a request that is turned into a GET has no more. */
const OF_BODY = /^content-(?:encoding|language|length|location|type)$/
/** Fields that only the server they were meant for may see. */
const OF_ORIGIN = /^(?:authorization|cookie)$/

/** The request that a redirect leads to. Throws a TypeError where it leads nowhere. */
export function redirected(request: OutboundRequest, status: number, location: string): OutboundRequest {
  const url = readUrl(location, request.url)
  if (url.hash === '') url.hash = request.url.hash
  const { method } = request
  const becomesGet =
    ((status === 301 || status === 302) && method === 'POST') || (status === 303 && method !== 'GET' && method !== 'HEAD')
  if (!becomesGet && request.streamed)
    throw new TypeError('its body was a stream or is a large one, and is not sent again after a redirect')
  const crosses = url.origin !== request.url.origin
  const headers: string[] = []
  for (let i = 0; i < request.headers.length; i += 2) {
    const name = request.headers[i]!
    if ((becomesGet && OF_BODY.test(name)) || (crosses && OF_ORIGIN.test(name))) continue
    headers.push(name, request.headers[i + 1]!)
  }
  return becomesGet ? { ...request, url, headers, method: 'GET', body: null, streamed: false } : { ...request, url, headers }
}
