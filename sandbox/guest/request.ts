import { abortReason, anySignal, createSignal, isAborted, isAbortSignal, signalAbort } from './abort.ts'
import type { AbortSignal } from './abort.ts'
import { bodyFrom, emptyBody, hasBody, isUnusable, mixinBody, teeBody } from './body.ts'
import type { Body, BodyInit } from './body.ts'
import type { HostBody } from './host-body.ts'
import { fieldsFrom, fieldsOf, getField, Headers, headersFrom } from './headers.ts'
import type { HeadersInit } from './headers.ts'
import { arrayPushPair, arraySlice, matches, objectDefineProperty, stringToUpperCase } from './primordials.ts'
import { URL } from './url.ts'
import { defineInterface, requireArguments, toDictionary } from './webidl.ts'
import type { ReadableStream } from './streams.ts'

export interface RequestInit {
  method?: string
  headers?: HeadersInit
  body?: BodyInit | null
  redirect?: 'follow' | 'error' | 'manual'
  signal?: AbortSignal | null
  duplex?: 'half'
}

/** Everything a Request is. The host's requests are made from its message; what is not looked at is not made. */
interface State {
  method: string
  url: string
  /** The header fields, until `headers` is asked for. */
  fields: string[]
  headers: Headers | null
  body: Body
  redirect: 'follow' | 'error' | 'manual'
  /** Made when it is asked for, or when it aborts. */
  signal: AbortSignal | null
}

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const NORMALIZED = /^(?:delete|get|head|options|post|put|patch)$/i
const INTERNAL = Symbol('skep.request')

let stateOf: (request: unknown) => State
export let isRequest: (value: unknown) => value is Request

export class Request {
  #state: State

  static {
    isRequest = (value): value is Request => typeof value === 'object' && value !== null && #state in value
    stateOf = (request) => {
      if (!isRequest(request)) throw new TypeError('Illegal invocation: this is not a Request')
      return request.#state
    }
  }

  constructor(input: string | URL | Request, init?: RequestInit, _state?: State) {
    if ((input as unknown) === INTERNAL) {
      this.#state = _state!
      return
    }
    requireArguments(arguments.length, 1, 'Request constructor')
    this.#state = createState(input, init)
  }

  get method(): string {
    return this.#state.method
  }

  get url(): string {
    return this.#state.url
  }

  get headers(): Headers {
    return (this.#state.headers ??= headersFrom(this.#state.fields, 'none'))
  }

  get redirect(): string {
    return this.#state.redirect
  }

  get signal(): AbortSignal {
    return (this.#state.signal ??= createSignal())
  }

  get destination(): string {
    void this.#state
    return ''
  }

  get referrer(): string {
    void this.#state
    return 'about:client'
  }

  get referrerPolicy(): string {
    void this.#state
    return ''
  }

  get mode(): string {
    void this.#state
    return 'cors'
  }

  get credentials(): string {
    void this.#state
    return 'same-origin'
  }

  get cache(): string {
    void this.#state
    return 'default'
  }

  get integrity(): string {
    void this.#state
    return ''
  }

  get keepalive(): boolean {
    void this.#state
    return false
  }

  get duplex(): string {
    void this.#state
    return 'half'
  }

  clone(): Request {
    const state = this.#state
    const copy: State = { ...state, body: teeBody(state.body), fields: currentFields(this), headers: null }
    copy.signal = anySignal([this.signal])
    return new Request(INTERNAL as unknown as string, undefined, copy)
  }

  declare readonly body: ReadableStream | null
  declare readonly bodyUsed: boolean
  declare text: () => Promise<string>
  declare json: () => Promise<unknown>
  declare arrayBuffer: () => Promise<ArrayBuffer>
  declare bytes: () => Promise<Uint8Array>
}
defineInterface(Request)
mixinBody(Request.prototype, (self) => stateOf(self).body)
objectDefineProperty(Request, 'length', { value: 1 })

/** A request that the host received: its fields are valid, and nothing is copied. */
export function incomingRequest(method: string, url: string, fields: string[], source: Uint8Array | HostBody | null): Request {
  const body: Body = { source, stream: null, used: false }
  const state: State = { method, url, fields, headers: null, body, redirect: 'manual', signal: null }
  return new Request(INTERNAL as unknown as string, undefined, state)
}

/** The client of an incoming request went away: what listens to its signal hears of it. */
export function abortRequest(request: Request, reason: unknown): void {
  const state = stateOf(request)
  signalAbort((state.signal ??= createSignal()), reason)
}

/** What `fetch` sends. */
export function requestParts(request: Request): State {
  return stateOf(request)
}

/** A copy of the fields as they are now. */
export function currentFields(request: Request): string[] {
  const state = stateOf(request)
  return arraySlice(state.headers === null ? state.fields : fieldsOf(state.headers))
}

function createState(input: string | URL | Request, init: RequestInit | undefined): State {
  const options = toDictionary(init, 'Request constructor: the second argument') as RequestInit
  const from = isRequest(input) ? stateOf(input) : null
  const state: State = {
    method: from === null ? 'GET' : from.method,
    url: from === null ? parseUrl(`${input as string}`) : from.url,
    fields: options.headers === undefined ? (from === null ? [] : currentFields(input as Request)) : fieldsFrom(options.headers),
    headers: null,
    body: emptyBody(),
    redirect: from === null ? 'follow' : from.redirect,
    signal: null,
  }
  if (options.method !== undefined) state.method = checkMethod(`${options.method}`)
  if (options.redirect !== undefined) state.redirect = checkRedirect(`${options.redirect}`)
  const signal = options.signal === undefined ? (from === null ? null : (input as Request).signal) : options.signal
  if (signal !== null) {
    if (!isAbortSignal(signal)) throw new TypeError("Request constructor: 'signal' is not an AbortSignal")
    if (isAborted(signal)) signalAbort((state.signal = createSignal()), abortReason(signal))
    else state.signal = anySignal([signal])
  }
  const given = options.body
  const bodyless = state.method === 'GET' || state.method === 'HEAD'
  if (given !== undefined && given !== null) {
    if (bodyless) throw new TypeError(`Request constructor: a ${state.method} request has no body`)
    const { body, type } = bodyFrom(given)
    state.body = body
    if (type !== null && getField(state.fields, 'content-type') === null) arrayPushPair(state.fields, 'content-type', type)
  } else if (from !== null && given === undefined && hasBody(from.body)) {
    if (bodyless) throw new TypeError(`Request constructor: a ${state.method} request has no body`)
    if (isUnusable(from.body)) throw new TypeError('Request constructor: the body of that request has already been used')
    state.body = { ...from.body }
    from.body.used = true
  }
  return state
}

function parseUrl(input: string): string {
  const url = new URL(input)
  if (url.username !== '' || url.password !== '')
    throw new TypeError('Request constructor: a URL with credentials in it is refused')
  return url.href
}

function checkMethod(method: string): string {
  if (!matches(TOKEN, method)) throw new TypeError(`Request constructor: ${method} is no HTTP method`)
  const upper = stringToUpperCase(method)
  if (upper === 'CONNECT' || upper === 'TRACE' || upper === 'TRACK')
    throw new TypeError(`Request constructor: method ${upper} is refused`)
  return matches(NORMALIZED, method) && upper !== 'PATCH' ? upper : method
}

function checkRedirect(redirect: string): State['redirect'] {
  if (redirect === 'follow' || redirect === 'error' || redirect === 'manual') return redirect
  throw new TypeError(`Request constructor: redirect is 'follow', 'error' or 'manual', not ${redirect}`)
}
