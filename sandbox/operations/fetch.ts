import type { Dispatcher } from 'undici'
import type { PlainObject } from '../protocol.ts'
import { RefusedAddress } from './connect.ts'
import { Download } from './download.ts'
import type { TenantNetwork } from './network.ts'
import { redirected } from './request.ts'
import type { OutboundRequest } from './request.ts'
import { codingsOf } from './unpack.ts'
import { Upload } from './upload.ts'

/** What an operation tells the guest. Nothing may be called after `failed` or `ended`. */
export interface OperationObserver {
  done(result: PlainObject): void
  chunk(bytes: Uint8Array): void
  ended(): void
  failed(errorName: string, message: string): void
  /** Room for more of the body that the guest sends. */
  credit(bytes: number): void
}

const REDIRECTS = new Set([301, 302, 303, 307, 308])
const MOST_REDIRECTS = 20
/** Fields of an answer; their bytes are bounded by the agent. */
const MOST_FIELDS = 1_000
/** `103 Early Hints` and its like before an answer. */
const MOST_INTERIM = 8
/** A redirect's body is read, so that its connection can be used again, up to this size. */
const MOST_DRAINED = 16_384

/**
 * The host's half of the guest's `fetch`: a request and what it is redirected to, each through the agent, whose connect
 * hook judges where they go.
 */
export class OutboundFetch {
  #request: OutboundRequest
  readonly #observer: OperationObserver
  readonly #network: TenantNetwork
  readonly #upload: Upload | undefined
  #agent!: Dispatcher
  #hops = 0
  /** Of the hop that runs, once it has a connection. */
  #controller: Dispatcher.DispatchController | undefined
  #download: Download | undefined
  #isOver = false

  constructor(request: OutboundRequest, network: TenantNetwork, observer: OperationObserver) {
    this.#request = request
    this.#network = network
    this.#observer = observer
    this.#upload = request.streamed ? new Upload((bytes) => this.#isOver || observer.credit(bytes)) : undefined
  }

  begin(agent: Dispatcher): void {
    this.#agent = agent
    this.#dispatch()
  }

  /** False when the guest sends more than it was given room for. */
  chunk(bytes: Uint8Array): boolean {
    return this.#upload?.push(bytes) ?? true
  }

  end(): void {
    this.#upload?.end()
  }

  credit(bytes: number): void {
    this.#download?.credit(bytes)
  }

  /** Nothing is told any more. */
  cancel(): void {
    if (this.#isOver) return
    this.#finish()
    this.#controller?.abort(new Error('cancelled'))
  }

  #finish(): void {
    this.#isOver = true
    this.#upload?.close()
    this.#download?.close()
  }

  #fail(error: unknown): void {
    if (this.#isOver) return
    const message = explain(error, this.#request.url.href)
    this.cancel()
    this.#observer.failed('TypeError', message)
  }

  #dispatch(): void {
    const { url, method, headers, body } = this.#request
    this.#controller = undefined
    const sent = this.#request.streamed ? this.#upload! : body
    // undici writes out what is an array, and would take these for its own kind of list.
    const options = { origin: url.origin, path: url.pathname + url.search, method, headers, body: sent as string }
    try {
      this.#agent.dispatch(options as Dispatcher.DispatchOptions, this.#handler())
    } catch (error) {
      this.#fail(error)
    }
  }

  #handler(): Dispatcher.DispatchHandler {
    let interim = 0
    /** Where this answer redirects to; its body is of no interest. */
    let next: OutboundRequest | undefined
    let drained = 0
    return {
      onRequestStart: (controller) => {
        this.#controller = controller
        if (this.#isOver) controller.abort(new Error('cancelled'))
      },
      onResponseStart: (controller, status, _, statusText) => {
        if (this.#isOver) return
        try {
          if (status < 200) {
            if (++interim > MOST_INTERIM) throw new TypeError('its server sends interim answers without end')
            return
          }
          const fields = fieldsOf(controller.rawHeaders as (Buffer | string)[])
          next = this.#nextHop(status, fields)
          if (next === undefined) this.#answer(controller, status, statusText ?? '', fields)
          else if (Number(valueOf(fields, 'content-length')) > MOST_DRAINED) this.#follow(next, controller)
        } catch (error) {
          this.#fail(error)
        }
      },
      onResponseData: (controller, chunk) => {
        if (this.#isOver || this.#controller !== controller) return
        if (next === undefined) this.#download?.write(chunk)
        else if ((drained += chunk.length) > MOST_DRAINED) this.#follow(next, controller)
      },
      onResponseEnd: (controller) => {
        if (this.#isOver || this.#controller !== controller) return
        if (next === undefined) this.#download?.end()
        else this.#follow(next, undefined)
      },
      onResponseError: (controller, error) => {
        // Without a controller no connection was made.
        if (controller === null || controller === undefined || this.#controller === controller) this.#fail(error)
      },
    }
  }

  /** Of the answer's connection nothing more is wanted, or it has ended. */
  #follow(next: OutboundRequest, controller: Dispatcher.DispatchController | undefined): void {
    this.#request = next
    this.#controller = undefined
    if (!next.streamed) this.#upload?.close()
    controller?.abort(new Error('redirected'))
    // Not from within the parser: the connection is free for the next request only after that.
    queueMicrotask(() => {
      if (!this.#isOver) this.#dispatch()
    })
  }

  /** Throws where the redirect may not be. */
  #nextHop(status: number, fields: string[]): OutboundRequest | undefined {
    if (!REDIRECTS.has(status) || this.#request.redirect === 'manual') return undefined
    if (this.#request.redirect === 'error') throw new TypeError('it is redirected')
    const location = valueOf(fields, 'location')
    if (location === undefined) return undefined
    if (++this.#hops > MOST_REDIRECTS) throw new TypeError(`it is redirected more than ${MOST_REDIRECTS} times`)
    return redirected(this.#request, status, Buffer.from(location, 'latin1').toString())
  }

  #answer(controller: Dispatcher.DispatchController, status: number, statusText: string, fields: string[]): void {
    const hasBody = this.#request.method !== 'HEAD' && status !== 204 && status !== 205 && status !== 304
    const codings = hasBody ? codingsOf(valueOf(fields, 'content-encoding') ?? '') : []
    if (hasBody) {
      this.#download = new Download(controller, codings, this.#network, {
        chunk: (bytes) => this.#observer.chunk(bytes),
        ended: () => {
          this.#finish()
          this.#observer.ended()
        },
        failed: (error) => this.#fail(error),
      })
    }
    const { origin, pathname, search } = this.#request.url
    this.#observer.done({
      status,
      statusText: /^[\t\x20-\x7e\x80-\xff]*$/.test(statusText) ? statusText.slice(0, 1_000) : '',
      url: `${origin}${pathname}${search}`,
      redirected: this.#hops > 0,
      headers: codings.length === 0 ? fields : withoutCoding(fields),
      hasBody,
    })
    if (!hasBody) this.#finish()
  }
}

function fieldsOf(raw: (Buffer | string)[]): string[] {
  if (raw.length > 2 * MOST_FIELDS) throw new TypeError(`its answer has more than ${MOST_FIELDS} headers`)
  return raw.map((field, i) => {
    const text = typeof field === 'string' ? field : field.toString('latin1')
    return i % 2 === 0 ? text.toLowerCase() : text
  })
}

/** All fields of a name, as one. */
function valueOf(fields: string[], name: string): string | undefined {
  let value: string | undefined
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] === name) value = value === undefined ? fields[i + 1]! : `${value}, ${fields[i + 1]!}`
  }
  return value
}

/** Those that describe the body as it was on the wire go, where what is handed on is the unpacked one. */
function withoutCoding(fields: string[]): string[] {
  const kept: string[] = []
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] !== 'content-encoding' && fields[i] !== 'content-length') kept.push(fields[i]!, fields[i + 1]!)
  }
  return kept
}

/** The message that the function sees: what went wrong with its request, and nothing about the host. */
export function explain(error: unknown, url: unknown): string {
  const chain: unknown[] = []
  for (let cause = error; cause instanceof Error && chain.length < 5; cause = cause.cause) chain.push(cause)
  const refused = chain.find((cause) => cause instanceof RefusedAddress)
  const target = typeof url === 'string' ? url.slice(0, 200) : 'the URL'
  if (refused !== undefined) return `fetch ${target}: refused: ${(refused as Error).message}`
  const last = chain.at(-1) as (Error & { code?: string }) | undefined
  return `fetch ${target} failed: ${last?.code ?? last?.message ?? 'unknown error'}`
}
