import type { Exchange, ExchangeObserver, FlatHeaders } from '../listener/listener.ts'

/** A client that a test plays. */
export class FakeExchange implements Exchange {
  method = 'GET'
  readonly url = 'http://a.test/'
  readonly hostname = 'a.test'
  readonly headers: FlatHeaders = []
  readonly remoteAddress = '127.0.0.1'
  readonly bodyLength: number
  observer!: ExchangeObserver
  /** What was called, in order: `respond 200 ok`, `start 200`, `write 3`, `end`, `abort`. */
  readonly calls: string[] = []
  answerHeaders: FlatHeaders = []
  granted = 0
  isDiscarded = false
  isFull = false
  /** Fields that a listener would refuse. */
  refuses = ''

  constructor(bodyLength = 0) {
    this.bodyLength = bodyLength
  }

  observe(observer: ExchangeObserver): void {
    this.observer = observer
  }

  grant(bytes: number): void {
    this.granted += bytes
  }

  discardBody(): void {
    this.isDiscarded = true
  }

  respond(status: number, headers: FlatHeaders, body?: string | Uint8Array): void {
    this.#check(headers)
    const text = body === undefined ? '' : ` ${Buffer.from(body).toString()}`
    this.calls.push(`respond ${this.errorIn(headers) ?? status}${this.errorIn(headers) === undefined ? text : ''}`)
  }

  start(status: number, headers: FlatHeaders): void {
    this.#check(headers)
    this.calls.push(`start ${status}`)
  }

  write(chunk: string | Uint8Array): boolean {
    this.calls.push(`write ${chunk.length}`)
    return !this.isFull
  }

  end(): void {
    this.calls.push('end')
  }

  abort(): void {
    this.calls.push('abort')
  }

  #check(headers: FlatHeaders): void {
    if (this.refuses !== '' && headers.includes(this.refuses)) throw new TypeError(`${this.refuses} is not allowed`)
    this.answerHeaders = [...headers]
  }

  private errorIn(headers: FlatHeaders): string | undefined {
    const at = headers.indexOf('skep-error')
    return at < 0 ? undefined : headers[at + 1]
  }
}
