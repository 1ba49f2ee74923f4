import { utf8Decode, utf8Encode } from './encoding.ts'
import { concat, HostBody } from './host-body.ts'
import {
  arrayPush,
  arrayBufferSlice,
  bytesOf,
  charCodeAt,
  getter,
  jsonParse,
  objectDefineProperty,
  stringSlice,
  typedArrayBuffer,
  typedArrayByteLength,
  typedArrayByteOffset,
  typedArrayLength,
  typedArraySet,
  typedArraySlice,
  uncurryThis,
} from './primordials.ts'
import { ReadableStream } from './streams.ts'
import { URLSearchParams } from './url-search-params.ts'
import { toUSVString } from './webidl.ts'

export type BodyInit = string | ArrayBuffer | ArrayBufferView | URLSearchParams | ReadableStream

/** What a Request or Response has for a body. A string and bytes stay what they are until somebody asks for the stream. */
export interface Body {
  source: string | Uint8Array | HostBody | null
  /** Made when `body` is first read; the source is then read through it. */
  stream: ReadableStream | null
  /** Consumed by a method, or handed on. A stream says so itself. */
  used: boolean
}

const getReader = uncurryThis(ReadableStream.prototype.getReader) as unknown as (stream: ReadableStream) => Reader
const streamLocked: (stream: unknown) => boolean = getter(ReadableStream.prototype, 'locked')
const streamTee = uncurryThis(ReadableStream.prototype.tee as () => [ReadableStream, ReadableStream])
const streamCancel = uncurryThis(ReadableStream.prototype.cancel as (reason: unknown) => Promise<void>)

interface Reader {
  read(): Promise<{ done: boolean; value: unknown }>
  cancel(reason: unknown): Promise<void>
}

/** Reads a stream's chunks as bytes; anything else in it is a TypeError. */
export class ByteReader {
  readonly #reader: Reader

  constructor(stream: ReadableStream) {
    this.#reader = getReader(stream)
  }

  /** A copy of the next chunk (the function may write into its own afterwards), or null at the end. */
  async read(): Promise<Uint8Array | null> {
    const { done, value } = await this.#reader.read()
    if (done) return null
    const bytes = bytesOf(value)
    if (bytes !== null) return copyBytes(bytes)
    const error = new TypeError(
      `A body's stream must give Uint8Array chunks; this one gave ${typeof value}. Pipe text through a TextEncoderStream.`,
    )
    this.cancel(error)
    throw error
  }

  cancel(reason: unknown): void {
    this.#reader.cancel(reason).catch(() => {})
  }
}

/** Bytes that are there already, in pieces. */
export class BytesReader {
  readonly length: number
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.length = typedArrayLength(bytes)
  }

  async read(): Promise<Uint8Array | null> {
    if (this.#at >= this.length) return null
    const piece = typedArraySlice(this.#bytes, this.#at, this.#at + PIECE)
    this.#at += PIECE
    return piece
  }

  cancel(): void {
    this.#at = this.length
  }
}

/** A text in pieces. The host encodes it, which is cheaper there. */
export class TextReader {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  async read(): Promise<string | null> {
    if (this.#at >= this.#text.length) return null
    const piece = cutText(this.#text, this.#at, this.#at + PIECE)
    this.#at += piece.length
    return piece
  }

  cancel(): void {
    this.#at = this.#text.length
  }
}

/** A part of a text that ends at `end` or so: what two code units make together stays together. */
export function cutText(text: string, start: number, end: number): string {
  const last = end < text.length ? charCodeAt(text, end - 1) : 0
  return stringSlice(text, start, last >= 0xd800 && last <= 0xdbff ? end + 1 : end)
}

const PIECE = 65_536

export function emptyBody(): Body {
  return { source: null, stream: null, used: false }
}

/** The body of an initial value, and the content type that it brings along. */
export function bodyFrom(init: BodyInit | null | undefined): { body: Body; type: string | null } {
  if (init === null || init === undefined) return { body: emptyBody(), type: null }
  if (typeof init === 'string')
    return { body: { source: toUSVString(init), stream: null, used: false }, type: 'text/plain;charset=UTF-8' }
  if (isStream(init)) {
    if (streamLocked(init)) throw new TypeError('The body is a stream that is locked or has been read')
    return { body: { source: null, stream: init, used: false }, type: null }
  }
  const bytes = bytesOf(init)
  if (bytes !== null) return { body: { source: copyBytes(bytes), stream: null, used: false }, type: null }
  if (init instanceof URLSearchParams) {
    return {
      body: { source: `${init as unknown as string}`, stream: null, used: false },
      type: 'application/x-www-form-urlencoded;charset=UTF-8',
    }
  }
  return { body: { source: toUSVString(init), stream: null, used: false }, type: 'text/plain;charset=UTF-8' }
}

export function isStream(value: unknown): value is ReadableStream {
  try {
    streamLocked(value)
    return true
  } catch {
    return false
  }
}

export function hasBody(body: Body): boolean {
  return body.source !== null || body.stream !== null
}

export function isUnusable(body: Body): boolean {
  return body.used || (body.stream !== null && (streamLocked(body.stream) || isDisturbed(body.stream)))
}

/** The `body` attribute: a stream, made when it is first asked for. */
export function streamOf(body: Body): ReadableStream | null {
  if (body.stream !== null || body.source === null) return body.stream
  const source = body.source
  body.stream =
    source instanceof HostBody ? source.toStream() : streamOfBytes(typeof source === 'string' ? utf8Encode(source) : source)
  if (body.used) getReader(body.stream)
  return body.stream
}

function streamOfBytes(bytes: Uint8Array): ReadableStream {
  return new ReadableStream({
    type: 'bytes',
    start(controller) {
      if (typedArrayByteLength(bytes) > 0) controller.enqueue(copyBytes(bytes) as Uint8Array<ArrayBuffer>)
      controller.close()
    },
  })
}

/** Takes the body over as it is: a string, bytes, or something to read chunk by chunk; null for none. */
export function takeBody(body: Body): string | Uint8Array | HostBody | ByteReader | null {
  if (isUnusable(body)) throw new TypeError('The body has already been used')
  body.used = hasBody(body)
  if (body.stream !== null) return new ByteReader(body.stream)
  return body.source
}

/** Two bodies in place of one, for `clone`. */
export function teeBody(body: Body): Body {
  if (isUnusable(body)) throw new TypeError('The body has already been used')
  if (body.stream === null && !(body.source instanceof HostBody)) return { source: body.source, stream: null, used: false }
  const [mine, theirs] = streamTee(streamOf(body)!)
  body.stream = mine
  body.source = null
  return { source: null, stream: theirs, used: false }
}

export function cancelBody(body: Body, reason: unknown): void {
  if (body.stream !== null && !streamLocked(body.stream)) streamCancel(body.stream, reason).catch(() => {})
  else if (body.source instanceof HostBody) body.source.cancel()
}

export async function bytesOfBody(body: Body): Promise<Uint8Array> {
  const taken = takeBody(body)
  if (taken === null) return new Uint8Array(0)
  if (typeof taken === 'string') return utf8Encode(taken)
  // `return` of a promise from an async function would call its `then`, which the tenant can replace; `await` does not.
  if (taken instanceof HostBody) return await taken.readAll()
  if (!(taken instanceof ByteReader)) return copyBytes(taken)
  const chunks: Uint8Array[] = []
  let length = 0
  for (let chunk = await taken.read(); chunk !== null; chunk = await taken.read()) {
    arrayPush(chunks, chunk)
    length += typedArrayByteLength(chunk)
  }
  return concat(chunks, length)
}

async function textOfBody(body: Body): Promise<string> {
  if (typeof body.source === 'string' && body.stream === null) return takeBody(body) as string
  return utf8Decode(await bytesOfBody(body))
}

/** Puts the body's attributes and methods on a prototype; `bodyOf` throws a TypeError for a foreign `this`. */
export function mixinBody(prototype: object, bodyOf: (self: unknown) => Body): void {
  const define = (name: string, descriptor: PropertyDescriptor) =>
    objectDefineProperty(prototype, name, { enumerable: true, configurable: true, ...descriptor })
  const attributes = {
    get body() {
      return streamOf(bodyOf(this))
    },
    get bodyUsed() {
      const body = bodyOf(this)
      return body.used || (body.stream !== null && isDisturbed(body.stream))
    },
  }
  for (const name of ['body', 'bodyUsed']) define(name, Object.getOwnPropertyDescriptor(attributes, name)!)
  const methods = {
    async arrayBuffer() {
      const bytes = await bytesOfBody(bodyOf(this))
      const buffer = typedArrayBuffer(bytes)
      const offset = typedArrayByteOffset(bytes)
      const length = typedArrayByteLength(bytes)
      return offset === 0 && length === buffer.byteLength ? buffer : arrayBufferSlice(buffer, offset, offset + length)
    },
    async bytes() {
      return await bytesOfBody(bodyOf(this))
    },
    async json() {
      return jsonParse(await textOfBody(bodyOf(this)))
    },
    async text() {
      return await textOfBody(bodyOf(this))
    },
  }
  for (const name of Object.keys(methods)) define(name, { value: (methods as Record<string, unknown>)[name], writable: true })
}

export function copyBytes(bytes: Uint8Array): Uint8Array {
  const copy = new Uint8Array(typedArrayByteLength(bytes))
  typedArraySet(copy, bytes)
  return copy
}

/** A stream that was read from or cancelled. The polyfill keeps this slot under a name of its own. */
function isDisturbed(stream: ReadableStream): boolean {
  return (stream as unknown as { _disturbed: boolean })._disturbed
}
