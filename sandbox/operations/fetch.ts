import { fetch } from 'undici'
import type { Dispatcher, Response } from 'undici'
import { INITIAL_CREDIT } from '../protocol.ts'
import type { PlainObject } from '../protocol.ts'
import { ownBytes } from '../bytes.ts'
import { RefusedAddress } from './connect.ts'

/** What an operation tells the guest. Nothing may be called after `failed` or `ended`. */
export interface OperationObserver {
  done(result: PlainObject): void
  chunk(bytes: Uint8Array): void
  ended(): void
  failed(errorName: string, message: string): void
  /** Room for more of the body that the guest sends. */
  credit(bytes: number): void
}

export interface OperationHandle {
  chunk(bytes: Uint8Array): void
  end(): void
  credit(bytes: number): void
  cancel(): void
}

/** Fields that frame a message, belong to one connection or are the host's to set: never taken from a function. */
const REFUSED = /^(?:host|connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|content-length|expect|skep-.*)$/

/** The host's half of the guest's `fetch`. */
export function startFetch(argument: PlainObject, dispatcher: Dispatcher, observer: OperationObserver): OperationHandle {
  const controller = new AbortController()
  const upload = argument.streamed === true ? new Upload(observer) : undefined
  const download = new Download(observer)
  void run(argument, dispatcher, controller.signal, upload, download, observer)
  return {
    chunk: (bytes) => upload?.chunk(bytes),
    end: () => upload?.end(),
    credit: (bytes) => download.credit(bytes),
    cancel: () => controller.abort(),
  }
}

async function run(
  argument: PlainObject,
  dispatcher: Dispatcher,
  signal: AbortSignal,
  upload: Upload | undefined,
  download: Download,
  observer: OperationObserver,
): Promise<void> {
  try {
    // An observer hears nothing before its operation is known.
    await undefined
    const { method, url, redirect, headers, body: whole } = readArgument(argument)
    const body = upload === undefined ? whole : upload.stream
    const response = await fetch(url, {
      method,
      redirect,
      headers,
      signal,
      dispatcher,
      ...(body === null ? {} : { body: body as string }),
      ...(upload === undefined ? {} : { duplex: 'half' as const }),
    })
    const reader = response.body?.getReader()
    observer.done({
      status: response.status,
      statusText: response.statusText,
      url: response.url,
      redirected: response.redirected,
      headers: headersOf(response),
      hasBody: reader !== undefined,
    })
    if (reader !== undefined) await download.send(reader)
  } catch (error) {
    if (!signal.aborted) observer.failed('TypeError', explain(error, argument.url))
  }
}

function readArgument(argument: PlainObject) {
  const { method, url, redirect, headers, body } = argument
  if (typeof method !== 'string' || typeof url !== 'string' || !Array.isArray(headers)) throw new TypeError('a malformed request')
  if (body !== null && typeof body !== 'string' && !(body instanceof Uint8Array)) throw new TypeError('a malformed body')
  if (redirect !== 'follow' && redirect !== 'error' && redirect !== 'manual') throw new TypeError('a malformed redirect mode')
  if (!/^https?:/.test(url)) throw new TypeError('only http: and https: URLs can be fetched')
  const kept: [string, string][] = []
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = String(headers[i])
    if (!REFUSED.test(name)) kept.push([name, String(headers[i + 1])])
  }
  return { method, url, redirect: redirect as 'follow' | 'error' | 'manual', headers: kept, body }
}

/** undici takes these codings off; with any other in the list it leaves the body as it is. */
const DECODED = /^(?:x-gzip|gzip|deflate|br|zstd)$/

/** The answer's fields. Those that describe the body as it was on the wire go, where what is handed on is the decoded one. */
function headersOf(response: Response): string[] {
  const encoding = response.headers.get('content-encoding')
  const decoded =
    response.body !== null &&
    encoding !== null &&
    encoding
      .toLowerCase()
      .split(',')
      .every((coding) => DECODED.test(coding.trim()))
  const fields: string[] = []
  for (const [name, value] of response.headers) {
    if (!decoded || (name !== 'content-encoding' && name !== 'content-length')) fields.push(name, value)
  }
  return fields
}

/** The message that the function sees: what went wrong with its request, and nothing about the host. */
function explain(error: unknown, url: unknown): string {
  const chain: unknown[] = []
  for (let cause = error; cause instanceof Error && chain.length < 5; cause = cause.cause) chain.push(cause)
  const refused = chain.find((cause) => cause instanceof RefusedAddress)
  const target = typeof url === 'string' ? url.slice(0, 200) : 'the URL'
  if (refused !== undefined) return `fetch ${target}: refused: ${(refused as Error).message}`
  const last = chain.at(-1) as (Error & { code?: string }) | undefined
  return `fetch ${target} failed: ${last?.code ?? last?.message ?? 'unknown error'}`
}

/** The answer's body, sent on as fast as the guest takes it. */
class Download {
  readonly #observer: OperationObserver
  #credit = INITIAL_CREDIT
  #wake: (() => void) | undefined

  constructor(observer: OperationObserver) {
    this.#observer = observer
  }

  credit(bytes: number): void {
    // A guest that grants more than was ever open is broken: its inbox is not to fill up for it.
    this.#credit = Math.min(this.#credit + bytes, INITIAL_CREDIT)
    this.#wake?.()
  }

  async send(reader: { read(): Promise<{ done: boolean; value?: unknown }> }): Promise<void> {
    for (;;) {
      while (this.#credit <= 0) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
      }
      const { done, value } = await reader.read()
      if (done) {
        this.#observer.ended()
        return
      }
      const bytes = ownBytes(value as Uint8Array)
      this.#credit -= bytes.length
      this.#observer.chunk(bytes)
    }
  }
}

/** The body that the guest streams into its request. */
class Upload {
  readonly stream: ReadableStream<Uint8Array>
  #controller!: ReadableStreamDefaultController<Uint8Array>
  /** Bytes that the guest may send and has not sent. */
  #underWay = INITIAL_CREDIT

  constructor(observer: OperationObserver) {
    this.stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller
        },
        pull: (controller) => {
          const room = (controller.desiredSize ?? 0) - this.#underWay
          if (room <= 0) return
          this.#underWay += room
          observer.credit(room)
        },
      },
      { highWaterMark: INITIAL_CREDIT, size: (chunk) => chunk.byteLength },
    )
  }

  chunk(bytes: Uint8Array): void {
    this.#underWay -= bytes.length
    try {
      this.#controller.enqueue(bytes)
    } catch {
      // The request has ended without wanting the rest.
    }
  }

  end(): void {
    try {
      this.#controller.close()
    } catch {
      // Likewise.
    }
  }
}
