import { bodyFrom, emptyBody, isUnusable, mixinBody, teeBody } from './body.ts'
import type { Body, BodyInit } from './body.ts'
import { fieldsFrom, fieldsOf, getField, Headers, headersFrom } from './headers.ts'
import type { HeadersInit } from './headers.ts'
import type { HostBody } from './host-body.ts'
import { arrayPushPair, arraySlice, jsonStringify, matches, objectDefineProperty } from './primordials.ts'
import { URL } from './url.ts'
import { defineInterface, requireArguments, toDictionary } from './webidl.ts'
import type { ReadableStream } from './streams.ts'

export interface ResponseInit {
  status?: number
  statusText?: string
  headers?: HeadersInit
}

interface State {
  type: 'default' | 'error'
  status: number
  statusText: string
  url: string
  redirected: boolean
  /** The header fields, until `headers` is asked for. */
  fields: string[]
  headers: Headers | null
  body: Body
  immutable: boolean
}

const INTERNAL = Symbol('skep.response')
// oxlint-disable-next-line no-control-regex
const REASON = /^[\t\x20-\x7e\x80-\xff]*$/

let stateOf: (response: unknown) => State
export let isResponse: (value: unknown) => value is Response

export class Response {
  #state: State

  static {
    isResponse = (value): value is Response => typeof value === 'object' && value !== null && #state in value
    stateOf = (response) => {
      if (!isResponse(response)) throw new TypeError('Illegal invocation: this is not a Response')
      return response.#state
    }
  }

  static error(): Response {
    return fromState({ ...blankState(), type: 'error', status: 0, immutable: true })
  }

  static json(data: unknown, init?: ResponseInit): Response {
    requireArguments(arguments.length, 1, 'Response.json')
    const text = jsonStringify(data)
    if (text === undefined) throw new TypeError('Response.json: the value has no JSON form')
    const state = createState(init)
    setBody(state, { source: text, stream: null, used: false }, 'application/json')
    return fromState(state)
  }

  static redirect(url: string | URL, status = 302): Response {
    requireArguments(arguments.length, 1, 'Response.redirect')
    const target = new URL(`${url as string}`)
    if (status !== 301 && status !== 302 && status !== 303 && status !== 307 && status !== 308) {
      throw new RangeError(`Response.redirect: ${status} is no redirect status (301, 302, 303, 307, 308)`)
    }
    return fromState({ ...blankState(), status, fields: ['location', target.href], immutable: true })
  }

  constructor(body?: BodyInit | null, init?: ResponseInit, _state?: State) {
    if ((body as unknown) === INTERNAL) {
      this.#state = _state!
      return
    }
    const state = createState(init)
    if (body !== undefined && body !== null) {
      const parsed = bodyFrom(body)
      setBody(state, parsed.body, parsed.type)
    }
    this.#state = state
  }

  get type(): string {
    return this.#state.type
  }

  get url(): string {
    return this.#state.url
  }

  get redirected(): boolean {
    return this.#state.redirected
  }

  get status(): number {
    return this.#state.status
  }

  get ok(): boolean {
    return this.#state.status >= 200 && this.#state.status <= 299
  }

  get statusText(): string {
    return this.#state.statusText
  }

  get headers(): Headers {
    const state = this.#state
    return (state.headers ??= headersFrom(state.fields, state.immutable ? 'immutable' : 'none'))
  }

  clone(): Response {
    const state = this.#state
    return fromState({ ...state, body: teeBody(state.body), fields: currentFields(state), headers: null })
  }

  declare readonly body: ReadableStream | null
  declare readonly bodyUsed: boolean
  declare text: () => Promise<string>
  declare json: () => Promise<unknown>
  declare arrayBuffer: () => Promise<ArrayBuffer>
  declare bytes: () => Promise<Uint8Array>
}
defineInterface(Response)
mixinBody(Response.prototype, (self) => stateOf(self).body)
objectDefineProperty(Response, 'length', { value: 0 })

/** A response that the host received for `fetch`. */
export function incomingResponse(head: {
  status: number
  statusText: string
  url: string
  redirected: boolean
  fields: string[]
  body: HostBody | null
}): Response {
  const { body, ...rest } = head
  return fromState({ ...blankState(), ...rest, body: { source: body, stream: null, used: false }, immutable: true })
}

/** What goes out to the client. Throws a TypeError where the body has been used. */
export function responseParts(response: Response): { type: string; status: number; fields: string[]; body: Body } {
  const state = stateOf(response)
  if (isUnusable(state.body)) throw new TypeError('The body of the response has already been used')
  return { type: state.type, status: state.status, fields: currentFields(state), body: state.body }
}

/** For `WebAssembly.compileStreaming`: read from the response itself, whatever its accessors have become. */
export function responseHead(response: Response): { status: number; type: string | null } {
  const state = stateOf(response)
  return { status: state.status, type: getField(currentFields(state), 'content-type') }
}

export function bodyOfResponse(response: Response): Body {
  return stateOf(response).body
}

function blankState(): State {
  return {
    type: 'default',
    status: 200,
    statusText: '',
    url: '',
    redirected: false,
    fields: [],
    headers: null,
    body: emptyBody(),
    immutable: false,
  }
}

function fromState(state: State): Response {
  return new Response(INTERNAL as unknown as string, undefined, state)
}

function currentFields(state: State): string[] {
  return state.headers === null ? state.fields : arraySlice(fieldsOf(state.headers))
}

function createState(init: ResponseInit | undefined): State {
  const state = blankState()
  if (init === undefined) return state
  const options = toDictionary(init, 'Response constructor: the second argument') as ResponseInit
  if (options.status !== undefined) {
    const status = +options.status
    if (!(status >= 200 && status <= 599))
      throw new RangeError(`Response constructor: status ${options.status} is not between 200 and 599`)
    state.status = status | 0
  }
  if (options.statusText !== undefined) {
    state.statusText = `${options.statusText}`
    if (!matches(REASON, state.statusText))
      throw new TypeError('Response constructor: statusText has characters that HTTP does not allow')
  }
  state.fields = fieldsFrom(options.headers)
  return state
}

function setBody(state: State, body: Body, type: string | null): void {
  if (state.status === 204 || state.status === 205 || state.status === 304) {
    throw new TypeError(`Response constructor: a response of status ${state.status} has no body`)
  }
  state.body = body
  if (type !== null && getField(state.fields, 'content-type') === null) arrayPushPair(state.fields, 'content-type', type)
}
