import { headText } from '../../host/listener/_headers.ts'
import type { Exchange, ExchangeObserver, FlatHeaders } from '../../host/listener/listener.ts'
import { INITIAL_CREDIT } from '../../sandbox/protocol.ts'

/** A client that holds the host to the contract of `Exchange`, and notes what it does wrong. */
export class StrictExchange implements Exchange {
  readonly method: string
  readonly url: string
  readonly hostname = 'a.test'
  readonly headers: FlatHeaders = []
  readonly remoteAddress = '127.0.0.1'
  readonly bodyLength: number
  observer!: ExchangeObserver
  /** Bytes of the body that the host may still be given. */
  granted = 0
  delivered = 0
  isFull = false
  hasLeft = false
  state: 'open' | 'streaming' | 'answered' | 'cut' = 'open'
  /** `skep-error` of the answer. */
  code = ''
  problem = ''
  /** What every answer to it begins with. */
  readonly tag: string

  constructor(tag: string, method: string, url: string, bodyLength: number) {
    this.tag = tag
    this.method = method
    this.url = url
    this.bodyLength = bodyLength
  }

  observe(observer: ExchangeObserver): void {
    this.observer = observer
  }

  grant(bytes: number): void {
    if (!(bytes >= 0) || !Number.isFinite(bytes)) this.#wrong(`granted ${bytes}`)
    this.granted += bytes
    const most = this.bodyLength >= 0 && this.bodyLength <= 65_536 ? this.bodyLength : INITIAL_CREDIT
    if (this.granted - this.delivered > most) this.#wrong(`over-granted: ${this.granted - this.delivered} of ${most} bytes`)
  }

  discardBody(): void {}

  respond(status: number, headers: FlatHeaders, body?: string | Uint8Array): void {
    if (this.#isOver('respond')) return
    const head = headText(status, headers)
    this.state = 'answered'
    this.code = /\r\nskep-error: (.*)/.exec(head)?.[1] ?? ''
    if (!head.includes(`skep-request-id: `)) this.#wrong('an answer without its id')
    if (head.includes('forged')) this.#wrong('a forged field')
    if (this.code === '') this.#own(body ?? '')
  }

  start(status: number, headers: FlatHeaders): void {
    if (this.#isOver('start')) return
    const head = headText(status, headers)
    if (head.includes('forged')) this.#wrong('a forged field')
    this.state = 'streaming'
  }

  write(chunk: string | Uint8Array): boolean {
    if (this.hasLeft) return true
    if (this.state !== 'streaming') this.#wrong(`write while ${this.state}`)
    this.#own(chunk)
    return !this.isFull
  }

  end(): void {
    if (this.hasLeft) return
    if (this.state !== 'streaming') this.#wrong(`end while ${this.state}`)
    this.state = 'answered'
  }

  abort(): void {
    if (this.hasLeft) return
    if (this.state !== 'streaming') this.#wrong(`abort while ${this.state}`)
    this.state = 'cut'
  }

  #isOver(what: string): boolean {
    if (this.hasLeft) return true
    if (this.state !== 'open') this.#wrong(`${what} while ${this.state}`)
    return false
  }

  /** Bodies that name a request name this one. */
  #own(body: string | Uint8Array): void {
    if (body.length === 0 || body.length > 30) return
    const text = typeof body === 'string' ? body : Buffer.from(body).toString()
    if (text.startsWith('request-') && text !== this.tag) this.#wrong(`got ${JSON.stringify(text.slice(0, 40))}, another's`)
  }

  #wrong(what: string): void {
    if (this.problem === '') this.problem = `${this.tag}: ${what}`
  }
}
