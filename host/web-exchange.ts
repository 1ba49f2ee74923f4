import type { Exchange, ExchangeObserver, FlatHeaders } from './listener/listener.ts'

/** Bytes of an answer that may wait for its reader. */
const BUFFERED = 262_144

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
  #over = false

  constructor(request: Request) {
    const url = new URL(request.url)
    this.#request = request
    this.method = request.method
    url.hash = ''
    this.url = url.href
    this.hostname = url.hostname
    if (!request.headers.has('host')) this.headers.push('host', url.host)
    for (const [name, value] of request.headers) this.headers.push(name, value)
    const length = Number(request.headers.get('content-length') ?? NaN)
    this.bodyLength = request.body === null ? 0 : Number.isSafeInteger(length) && length > 0 ? length : -1
    this.response = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
    })
    if (request.signal.aborted) queueMicrotask(() => this.#aborted())
    else request.signal.addEventListener('abort', () => this.#aborted(), { once: true })
  }

  observe(observer: ExchangeObserver): void {
    this.#observer = observer
  }

  grant(bytes: number): void {
    this.#credit += bytes
    if (!this.#reading) void this.#read()
  }

  discardBody(): void {
    this.#credit = 0
    const stopped = this.#reader?.cancel() ?? (this.#request.bodyUsed ? undefined : this.#request.body?.cancel())
    stopped?.catch(() => {})
  }

  respond(status: number, headers: FlatHeaders, body?: string | Uint8Array): void {
    const bare = this.method === 'HEAD' || status === 204 || status === 205 || status === 304
    const response = new Response(bare ? null : ((body ?? null) as string | null), { status, headers: pairs(headers) })
    this.#over = true
    this.#settle.resolve(response)
  }

  start(status: number, headers: FlatHeaders): void {
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller
        },
        pull: () => this.#observer?.drained(),
        cancel: () => this.#aborted(),
      },
      { highWaterMark: BUFFERED, size: (chunk) => chunk.byteLength },
    )
    const bare = this.method === 'HEAD' || status === 204 || status === 205 || status === 304
    this.#settle.resolve(new Response(bare ? null : body, { status, headers: pairs(headers) }))
  }

  write(chunk: string | Uint8Array): boolean {
    if (this.#over || this.#controller === undefined) return true
    this.#controller.enqueue(typeof chunk === 'string' ? Buffer.from(chunk) : chunk)
    return (this.#controller.desiredSize ?? 0) > 0
  }

  end(): void {
    if (this.#over) return
    this.#over = true
    this.#controller?.close()
  }

  abort(): void {
    if (this.#over) return
    this.#over = true
    this.#controller?.error(new TypeError('The function broke its answer off'))
  }

  async #read(): Promise<void> {
    this.#reading = true
    try {
      this.#reader ??= this.#request.body?.getReader() as ReadableStreamDefaultReader<Uint8Array> | undefined
      while (this.#credit > 0 && !this.#over && this.#reader !== undefined) {
        const { done, value } = await this.#reader.read()
        if (done) {
          this.#observer?.bodyChunk(new Uint8Array(0), true)
          this.#reader = undefined
          return
        }
        this.#credit -= value.byteLength
        this.#observer?.bodyChunk(value, false)
      }
    } catch (error) {
      this.#observer?.bodyFailed(error instanceof Error ? error.message : 'The request body broke off')
    } finally {
      this.#reading = false
    }
  }

  #aborted(): void {
    if (this.#over) return
    this.#over = true
    this.#observer?.aborted()
    try {
      this.#controller?.error(this.#request.signal.reason)
    } catch {
      // Its reader has cancelled it.
    }
    this.#settle.reject(this.#request.signal.reason)
  }
}

function pairs(headers: FlatHeaders): [string, string][] {
  const list: [string, string][] = []
  for (let i = 0; i < headers.length; i += 2) list.push([headers[i]!, headers[i + 1]!])
  return list
}
