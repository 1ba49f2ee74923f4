import type { Exchange, ExchangeObserver, FlatHeaders } from './listener/listener.ts'

/** Bytes of an answer that may wait for its reader. */
const BUFFERED = 262_144

/** Fields that tell how bytes are framed on a connection; a Response has none. */
const FRAMING = new Set([
  'connection',
  'content-length',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** An exchange over WHATWG Request and Response, for `host.fetch()` and for invocations through the API. */
export class WebExchange implements Exchange {
  readonly method: string
  readonly url: string
  readonly hostname: string
  readonly headers: FlatHeaders = []
  readonly remoteAddress = ''
  readonly bodyLength: number
  /** Rejects with the signal's reason when the request is aborted before it is answered. */
  readonly response: Promise<Response>
  readonly #request: Request
  #observer: ExchangeObserver | undefined
  #settle!: { resolve(response: Response): void; reject(reason: unknown): void }
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined
  #credit = 0
  #reading = false
  #discarded = false
  #over = false
  readonly #onAbort = () => this.#gone(this.#request.signal.reason)

  constructor(request: Request) {
    const url = new URL(request.url)
    this.#request = request
    this.method = request.method
    url.hash = ''
    this.url = url.href
    this.hostname = url.hostname.replace(/\.$/, '')
    if (!request.headers.has('host')) this.headers.push('host', url.host)
    for (const [name, value] of request.headers) this.headers.push(name, value)
    const length = Number(request.headers.get('content-length') ?? NaN)
    this.bodyLength = request.body === null ? 0 : Number.isSafeInteger(length) && length > 0 ? length : -1
    this.response = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
    })
    if (request.signal.aborted) queueMicrotask(this.#onAbort)
    else request.signal.addEventListener('abort', this.#onAbort, { once: true })
  }

  observe(observer: ExchangeObserver): void {
    this.#observer = observer
  }

  grant(bytes: number): void {
    this.#credit += bytes
    if (!this.#reading) void this.#read()
  }

  discardBody(): void {
    if (this.#discarded) return
    this.#discarded = true
    // A source that somebody generates should hear that nobody wants it.
    const stopped = this.#reader?.cancel() ?? (this.#request.bodyUsed ? undefined : this.#request.body?.cancel())
    stopped?.catch(() => {})
  }

  respond(status: number, headers: FlatHeaders, body?: string | Uint8Array): void {
    if (this.#over) return
    // As bytes: for a string Response would make up a content type.
    const bytes = typeof body === 'string' ? Buffer.from(body) : body
    const isBare = this.#isBare(status) || bytes === undefined
    const response = new Response(isBare ? null : (bytes as Uint8Array<ArrayBuffer>), { status, headers: this.#pairs(headers) })
    this.#finish()
    this.#settle.resolve(response)
  }

  start(status: number, headers: FlatHeaders): void {
    if (this.#over) return
    const isBare = this.#isBare(status)
    const body = isBare ? null : this.#stream()
    this.#settle.resolve(new Response(body, { status, headers: this.#pairs(headers) }))
    if (isBare) this.#controller = undefined
  }

  write(chunk: string | Uint8Array): boolean {
    if (this.#over || this.#controller === undefined) return true
    this.#controller.enqueue(typeof chunk === 'string' ? Buffer.from(chunk) : chunk)
    return (this.#controller.desiredSize ?? 0) > 0
  }

  end(): void {
    if (this.#over) return
    this.#finish()
    this.#controller?.close()
  }

  abort(): void {
    if (this.#over) return
    this.#finish()
    this.#controller?.error(new TypeError('The function broke its answer off'))
  }

  #stream(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return new ReadableStream(
      {
        start: (controller) => {
          this.#controller = controller
        },
        pull: () => this.#observer?.drained(),
        cancel: (reason) => this.#gone(reason),
      },
      { highWaterMark: BUFFERED, size: (chunk) => chunk!.byteLength },
    )
  }

  async #read(): Promise<void> {
    this.#reading = true
    try {
      this.#reader ??= this.#request.body?.getReader() as ReadableStreamDefaultReader<Uint8Array> | undefined
      while (this.#credit > 0 && !this.#over && !this.#discarded && this.#reader !== undefined) {
        const { done, value } = await this.#reader.read()
        if (this.#over || this.#discarded) return
        if (done) {
          this.#reader = undefined
          this.#observer?.bodyChunk(new Uint8Array(0), true)
          return
        }
        if (!(value instanceof Uint8Array)) throw new TypeError('A chunk of the request body is no Uint8Array')
        this.#credit -= value.byteLength
        this.#observer?.bodyChunk(value, false)
      }
    } catch (error) {
      if (!this.#over) this.#observer?.bodyFailed(error instanceof Error ? error.message : 'The request body broke off')
    } finally {
      this.#reading = false
    }
  }

  /** The caller's signal, or the reader of the answer, wants no more. */
  #gone(reason: unknown): void {
    if (this.#over) return
    const observer = this.#observer
    this.#finish()
    this.#controller?.error(reason)
    this.#settle.reject(reason)
    observer?.aborted()
  }

  #finish(): void {
    this.#over = true
    this.#observer = undefined
    this.#request.signal.removeEventListener('abort', this.#onAbort)
    this.discardBody()
  }

  #isBare(status: number): boolean {
    return this.method === 'HEAD' || status === 204 || status === 205 || status === 304
  }

  #pairs(headers: FlatHeaders): [string, string][] {
    const list: [string, string][] = []
    for (let i = 0; i < headers.length; i += 2) {
      const name = headers[i]!
      // Only in an answer to HEAD does a length tell something that its body does not.
      if (FRAMING.has(name) && !(name === 'content-length' && this.method === 'HEAD')) continue
      list.push([name, headers[i + 1]!])
    }
    return list
  }
}
