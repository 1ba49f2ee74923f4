/** One connection of the fuzzer: it sends what it is given, request by request, and judges what comes back. */
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { block, END_HEADERS, END_STREAM, frameOf, get } from '../listener/h2-frames.ts'
import type { Carrier } from '../listener/stage.ts'
import type { Random } from '../chaos/random.ts'
import { bent, requestBytes } from './generate.ts'

/** Nothing has come for so long: the request is not whole, and the client ends its side. */
const PATIENCE_MS = 150
/** By now the server must have ended, too. Far above its idle bound, for machines that are busy. */
const HANG_MS = 30_000
/** Requests of one connection. */
const MOST = 40

const TOKEN = /T[0-9a-z]{16}Z/g
/** Of all connections: a bent token is nobody's. */
const issued = new Set<string>()

export interface Verdict {
  /** Requests that were sent and answered, or cut. */
  requests: number
  answers: number
  fault: string | undefined
}

export function fuzzConnection(carrier: Carrier, port: number, random: Random): Promise<Verdict> {
  const part = () =>
    random
      .below(36 ** 4)
      .toString(36)
      .padStart(4, '0')
  const token = `T${part()}${part()}${part()}${part()}Z`
  issued.add(token)
  // uWebSockets cuts whoever pipelines: there, it is rare.
  const pipelined = random.below(carrier === 'uws' ? 50 : 4) === 0
  const batch = pipelined ? 2 + random.below(10) : 1
  return new Promise((resolve) => {
    const verdict: Verdict = { requests: 0, answers: 0, fault: undefined }
    const seen: Buffer[] = []
    let received = 0
    let ended = false
    const socket = open(carrier, port)
    const hang = setTimeout(() => {
      verdict.fault ??= `a connection hung; it had received ${JSON.stringify(tail())}`
      socket.destroy()
    }, HANG_MS)
    const end = (): void => {
      ended = true
      socket.end()
    }
    let patience: NodeJS.Timeout | undefined
    const send = (): void => {
      clearTimeout(patience)
      if (ended) return
      if (verdict.requests >= MOST || random.below(60) === 0) return random.below(2) === 0 ? end() : void socket.destroy()
      verdict.requests += batch
      const next = (i: number) => (carrier === 'h2' ? frames(random, token, verdict.requests + i) : requestBytes(random, token))
      socket.write(Buffer.concat(Array.from({ length: batch }, (_, i) => next(i))))
      patience = setTimeout(end, PATIENCE_MS)
    }
    const tail = (): string => Buffer.concat(seen).toString('latin1').slice(-300)
    socket.on('data', (bytes: Buffer) => {
      seen.push(bytes)
      received += bytes.length
      verdict.answers++
      if (received > 65_536) received = seen.splice(0, seen.length - 1).length === 0 ? received : bytes.length
      send()
    })
    socket.on('error', () => {})
    socket.once(carrier === 'tls' || carrier === 'h2' ? 'secureConnect' : 'connect', () => {
      if (carrier === 'h2')
        socket.write(Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frameOf(4, 0, 0, Buffer.alloc(0))]))
      send()
    })
    socket.once('close', () => {
      clearTimeout(hang)
      clearTimeout(patience)
      const text = Buffer.concat(seen).toString('latin1')
      // The function says back what it was sent, so ours would be in a frame, too.
      if (/skep-error: internal\r|internal\b.{0,4}$/.test(text)) verdict.fault ??= `an internal error: ${tail()}`
      for (const [found] of text.matchAll(TOKEN))
        if (found !== token && issued.has(found)) verdict.fault ??= `${token} got ${found}`
      resolve(verdict)
    })
  })
}

function open(carrier: Carrier, port: number): Socket {
  const to = { port, host: '127.0.0.1' }
  if (carrier === 'uws' || carrier === 'node') return connect({ ...to, noDelay: true })
  return connectTls({
    ...to,
    servername: 'a.test',
    rejectUnauthorized: false,
    ALPNProtocols: [carrier === 'h2' ? 'h2' : 'http/1.1'],
  })
}

const TYPES = [0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 99]

/** A request in frames, mostly right, and now and then something else. */
function frames(random: Random, token: string, nth: number): Buffer {
  const stream = random.below(30) === 0 ? random.below(100) : nth * 2 - 1
  const fields = [...get(`/?${token}`).filter(([name]) => name !== ':authority'), [':authority', 'fuzz.test'] as [string, string]]
  fields.push(['x-token', token])
  if (random.below(20) === 0) fields.splice(random.below(fields.length), 1)
  if (random.below(20) === 0)
    fields.push([random.pick(['te', 'connection', ':x', 'X', 'content-length', 'host']), random.pick(['1', 'close', 'gzip'])])
  const whole = random.below(4) > 0
  let bytes = frameOf(1, (whole ? END_STREAM : 0) | (random.below(40) === 0 ? 0 : END_HEADERS), stream, block(fields))
  if (!whole)
    bytes = Buffer.concat([
      bytes,
      frameOf(0, random.below(8) === 0 ? 0 : END_STREAM, stream, Buffer.from('hello'.repeat(random.below(100)))),
    ])
  if (random.below(15) === 0) {
    const payload = Buffer.from(Array.from({ length: random.below(40) }, () => random.below(256)))
    bytes = Buffer.concat([bytes, frameOf(random.pick(TYPES), random.below(256), random.below(4) === 0 ? 0 : stream, payload)])
  }
  return random.below(10) === 0 ? bent(random, bytes) : bytes
}
