/** Heads of requests that node:http has parsed, and its answers to those that are none. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { beginScan, headOf, type Refusal, type RequestHead, scanField } from './_head.ts'
import { reasonPhrase } from './_headers.ts'
import { MAX_HEADER_COUNT } from './_limits.ts'

const ABSOLUTE = /^https?:\/\/([^/?#]*)(.*)$/i

export function readHead(req: IncomingMessage): RequestHead | Refusal {
  const raw = req.rawHeaders
  if (raw.length > MAX_HEADER_COUNT * 2) return 'headers_too_large'
  // llhttp takes 0.9 and 2.0 for versions of HTTP/1.
  if (req.httpVersionMajor !== 1) return 'bad_request'
  beginScan()
  for (let i = 0; i < raw.length; i += 2) scanField(raw[i]!.toLowerCase(), raw[i + 1]!)
  const secure = (req.socket as TLSSocket).encrypted === true
  let target = req.url!
  let authority: string | undefined
  if (target[0] !== '/') {
    // RFC 9112: the authority of an absolute target outranks Host.
    const absolute = ABSOLUTE.exec(target)
    if (absolute === null) return 'bad_request'
    authority = absolute[1]!
    target = absolute[2]!.startsWith('/') ? absolute[2]! : `/${absolute[2]!}`
  }
  const decoded = /[\x80-\xff]/.test(target) ? Buffer.from(target, 'latin1').toString() : target
  const head = headOf(req.method!, decoded, secure, authority)
  if (head === undefined) return 'bad_request'
  // HTTP/1.0 closes unless it is asked not to. Behind an upgrade, node:http throws away what came in the same packet.
  if (head.upgrade || (req.httpVersionMinor === 0 && !/\bkeep-alive\b/i.test(head.connection ?? ''))) head.closes = true
  return head
}

export function refuse(res: ServerResponse, code: Refusal): void {
  const status = code === 'headers_too_large' ? 431 : 400
  const body = reasonPhrase(status)
  res.writeHead(status, ['skep-error', code, 'content-length', String(body.length), 'connection', 'close'])
  res.end(body, () => res.req.socket.destroySoon())
}

export function refuseSocket(error: NodeJS.ErrnoException, socket: Duplex): void {
  // Timeouts and resets get no answer, nor does a client whose answer has begun.
  const answering = (socket as Duplex & { _httpMessage?: ServerResponse })._httpMessage?.headersSent === true
  if (!error.code?.startsWith('HPE_') || !socket.writable || answering) socket.destroy()
  else if (error.code === 'HPE_HEADER_OVERFLOW') endSocket(socket, 431, 'headers_too_large')
  else endSocket(socket, 400, 'bad_request')
}

export function endSocket(socket: Duplex, status: number, code: Refusal): void {
  const phrase = reasonPhrase(status)
  const head = `HTTP/1.1 ${status} ${phrase}\r\nskep-error: ${code}\r\nconnection: close\r\ncontent-length: ${phrase.length}`
  socket.once('error', () => {})
  socket.end(`${head}\r\n\r\n${phrase}`, () => socket.destroy())
}
