/**
 * HTTP/2 connections: which are open, which are idle, what their clients may do to them. nghttp2, below Node, bounds
 * resets, CONTINUATION and SETTINGS frames and header tables; what is bounded here is time.
 */
import { constants, type IncomingHttpHeaders, type Http2Session, type ServerHttp2Stream } from 'node:http2'
import { H2Exchange } from './_h2-exchange.ts'
import { beginScan, headOf, type Refusal, type RequestHead, scanField } from './_head.ts'
import { reasonPhrase } from './_headers.ts'
import { LINGER_MS, MAX_HEADER_BYTES, MAX_HEADER_COUNT, YOUNG_MS } from './_limits.ts'
import { plainAddress } from './_request.ts'
import type { StreamTraffic } from './_stream-exchange.ts'

const { NGHTTP2_NO_ERROR } = constants

interface Held {
  remoteAddress: string
  exchanges: Set<H2Exchange>
  /** Since when it has had no request. */
  idleSince: number
  /** It was asked to end for being idle. */
  leaving: boolean
}

export class H2Sessions {
  readonly #held = new Map<Http2Session, Held>()
  readonly #traffic: StreamTraffic

  constructor(traffic: StreamTraffic) {
    this.#traffic = traffic
  }

  opened(session: Http2Session): void {
    const remoteAddress = plainAddress(session.socket.remoteAddress ?? '')
    this.#held.set(session, { remoteAddress, exchanges: new Set(), idleSince: performance.now(), leaving: false })
    session.once('close', () => this.#held.delete(session))
    if (this.#traffic.draining) this.#leaveLater(session)
  }

  /** The exchange of a stream, or undefined where it is answered already. */
  exchange(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, raw: string[]): H2Exchange | undefined {
    // The client's mistakes end the stream, and its `close` tells of them. One may have done so already: without somebody
    // who hears of the error, it would end the process.
    stream.on('error', () => {})
    const held = stream.session === undefined ? undefined : this.#held.get(stream.session)
    if (held === undefined || stream.destroyed) return undefined
    const head = readHead(stream, raw)
    if (typeof head === 'string') {
      refuse(stream, head)
      return undefined
    }
    if (headers.expect?.toLowerCase() === '100-continue') stream.additionalHeaders({ ':status': 100 })
    const exchange = new H2Exchange(this.#traffic, stream, head, held.remoteAddress)
    held.exchanges.add(exchange)
    stream.once('close', () => {
      held.exchanges.delete(exchange)
      held.idleSince = performance.now()
    })
    return exchange
  }

  /**
   * A GOAWAY names the last request that is answered; one that crosses it on the way is for its client to send again, and
   * not every client does. So a connection that is in use gets it a little later, when fewer are on the way.
   */
  drain(): void {
    const now = performance.now()
    for (const [session, held] of this.#held) {
      if (held.exchanges.size === 0 && now - held.idleSince > YOUNG_MS) session.close()
      else this.#leaveLater(session)
    }
  }

  #leaveLater(session: Http2Session): void {
    setTimeout(() => {
      if (!session.destroyed) session.close()
    }, LINGER_MS).unref()
  }

  cutSlow(now: number, idleMs: number): void {
    for (const [session, held] of this.#held) {
      for (const exchange of held.exchanges) exchange.cutIfSlow(now, idleMs)
      if (held.exchanges.size > 0 || now - held.idleSince < idleMs) continue
      // One that does not take its GOAWAY either is ended without.
      if (held.leaving) session.destroy()
      else session.close()
      held.leaving = true
    }
  }
}

function readHead(stream: ServerHttp2Stream, raw: string[]): RequestHead | Refusal {
  let size = 0
  if (raw.length > (MAX_HEADER_COUNT + 4) * 2) return 'headers_too_large'
  beginScan()
  let method = ''
  let target = ''
  let authority: string | undefined
  let cookies: string | undefined
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i]!
    const value = raw[i + 1]!
    size += name.length + value.length
    if (name === ':method') method = value
    else if (name === ':path') target = value
    else if (name === ':authority') authority = value
    // RFC 9113, 8.2.3: a cookie may come in crumbs.
    else if (name === 'cookie') cookies = cookies === undefined ? value : `${cookies}; ${value}`
    else if (name[0] !== ':') scanField(name, value)
  }
  if (size > MAX_HEADER_BYTES) return 'headers_too_large'
  if (cookies !== undefined) scanField('cookie', cookies)
  if (target[0] !== '/') return 'bad_request'
  const decoded = /[\x80-\xff]/.test(target) ? Buffer.from(target, 'latin1').toString() : target
  const head = headOf(method, decoded, true, authority)
  if (head === undefined || !names(head, authority)) return 'bad_request'
  // nghttp2 holds a body to its length; without one only its end tells.
  if (stream.endAfterHeaders) head.bodyLength = 0
  else if (head.bodyLength === 0) head.bodyLength = -1
  return head
}

/** Functions look for Host. Where there are both and they differ, somebody is being deceived. */
function names(head: RequestHead, authority: string | undefined): boolean {
  if (authority === undefined) return true
  const { headers } = head
  for (let i = 0; i < headers.length; i += 2) {
    if (headers[i] === 'host') return headers[i + 1]!.toLowerCase() === authority.toLowerCase()
  }
  headers.unshift('host', authority)
  return true
}

function refuse(stream: ServerHttp2Stream, code: Refusal): void {
  const status = code === 'headers_too_large' ? 431 : 400
  stream.once('finish', () => stream.close(NGHTTP2_NO_ERROR))
  stream.respond({ ':status': status, 'skep-error': code })
  stream.end(reasonPhrase(status))
}
