/** What the suites of the listeners share: a listener on each carrier, a handler that each case sets, clients. */
import type { ClientLimits } from '../../host/listener/_limits.ts'
import type { Exchange, ExchangeObserver, Listener, ListenOptions } from '../../host/listener/listener.ts'
import { listenNode } from '../../host/listener/node.ts'
import { listenTls } from '../../host/listener/tls.ts'
import { loadUws } from '../../host/listener/uws-binary.ts'
import { listenUws } from '../../host/listener/uws.ts'
import { anyCredentials, NO_OPENSSL } from './certificates.ts'
import { type Answer, Client, type Conversation } from './client.ts'
import { H2Client } from './h2-client.ts'

export type Handler = (exchange: Exchange) => void

/** A listener, and what its clients speak: `tls` and `h2` are HTTP/1.1 and HTTP/2 on the same one. */
export type Carrier = 'uws' | 'node' | 'tls' | 'h2'
export const CARRIERS: Carrier[] = ['uws', 'node', 'tls', 'h2']

export const MB = 1024 * 1024

const load = loadUws()
const required = process.env['SKEP_REQUIRE_SERVICES'] === '1' && process.platform === 'linux' && process.arch === 'x64'
if (load.uws === undefined && required) throw new Error(`uWebSockets.js must load here: ${load.reason}`)

/** Why a carrier cannot be tested here, or false. */
export function whyNot(carrier: Carrier): string | false {
  if (carrier === 'uws') return load.uws === undefined ? load.reason : false
  return carrier === 'node' ? false : NO_OPENSSL
}

export async function listenOn(carrier: Carrier, options: ListenOptions): Promise<Listener> {
  if (carrier === 'uws') return listenUws(load.uws!, options)
  if (carrier === 'node') return listenNode(options)
  return listenTls({ ...options, tls: { credentials: await anyCredentials() } })
}

export class Stage {
  readonly carrier: Carrier
  /** `http`, or `https` over TLS. */
  readonly scheme: string
  handler: Handler = hello
  /** Requests that came to the handler. */
  calls = 0
  readonly #limits: ClientLimits | undefined
  #listener: Listener | undefined

  constructor(carrier: Carrier, limits?: ClientLimits) {
    this.carrier = carrier
    this.#limits = limits
    this.scheme = carrier === 'tls' || carrier === 'h2' ? 'https' : 'http'
  }

  async begin(): Promise<void> {
    this.#listener = await this.serve()
  }

  async finish(): Promise<void> {
    await this.#listener?.close(0)
  }

  get port(): number {
    return this.#listener!.port
  }

  /** One more listener, with the stage's handler unless it has its own. */
  serve(options: Partial<ListenOptions> = {}): Promise<Listener> {
    const handler = (exchange: Exchange) => {
      this.calls++
      this.handler(exchange)
    }
    return listenOn(this.carrier, {
      port: 0,
      address: '127.0.0.1',
      handler,
      ...(this.#limits && { limits: this.#limits }),
      ...options,
    })
  }

  open(port: number = this.port, host?: string): Promise<Conversation> {
    return this.carrier === 'h2' ? H2Client.open(port, host) : this.raw(port, host)
  }

  /** A connection whose socket the case itself reads from. Not over HTTP/2. */
  raw(port: number = this.port, host?: string): Promise<Client> {
    return this.scheme === 'https' ? Client.openTls(port, host) : Client.open(port, host)
  }

  /** One request on a connection of its own. */
  async ask(request: string | Uint8Array, options: { head?: boolean; port?: number } = {}): Promise<Answer> {
    const client = await this.open(options.port)
    client.send(request)
    const answer = await client.answer(options)
    client.close()
    if (answer === undefined) throw new Error('the connection closed without an answer')
    return answer
  }
}

export const hello: Handler = (exchange) => exchange.respond(200, ['x-from', 'skep'], 'hello')

export function observer(part: Partial<ExchangeObserver> = {}): ExchangeObserver {
  return { bodyChunk() {}, bodyFailed() {}, drained() {}, aborted() {}, ...part }
}

/** Answers on a later turn of the loop, as a host does. */
export function later(run: Handler): Handler {
  return (exchange) => {
    exchange.observe(observer())
    setImmediate(() => run(exchange))
  }
}

export function collect(exchange: Exchange, credit = Infinity): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = []
    exchange.observe(
      observer({
        bodyChunk(bytes, last) {
          chunks.push(bytes)
          if (last) resolve(Buffer.concat(chunks))
          else if (credit !== Infinity) setImmediate(() => exchange.grant(bytes.length))
        },
        bodyFailed: (reason) => reject(new Error(reason)),
      }),
    )
    exchange.grant(credit)
  })
}

export function gate<T = void>(): { opened: Promise<T>; open: (value: T) => void } {
  const { promise, resolve } = Promise.withResolvers<T>()
  return { opened: promise, open: resolve }
}
