import { ArrayConstructor, arrayPush, PromiseConstructor, typedArrayByteLength, typedArraySet } from './primordials.ts'
import { ReadableStream } from './streams.ts'

/** Of the bytes that arrive, this part is also allocated on V8's own heap: see `hasten`. */
const BALLAST_SHIFT = 4
const ballast: { last: unknown[] } = { last: [] }

/**
 * Makes V8 collect sooner. It counts a chunk of 64 kB as the hundred bytes of its object, so that a body could leave some
 * 64 MB of dead chunks behind before a collection frees them. Garbage on the heap in proportion brings one every few MB.
 */
function hasten(bytes: number): void {
  ballast.last = new ArrayConstructor((bytes >> BALLAST_SHIFT) + 1)
}

/**
 * Bytes that arrive from the host: the body of a request, or of an outbound fetch's response. Delivered as messages
 * within the credit given, read by one reader: the consumer (`text()`, …), the stream over it, or the way back out.
 */
export class HostBody {
  #chunks: Uint8Array[] = []
  #first = 0
  #ended = false
  #error: unknown
  #wake: (() => void) | undefined
  readonly #grant: (bytes: number) => void
  readonly #cancel: () => void

  /** `grant` tells the host that there is room for more, `cancel` that no more is wanted. */
  constructor(grant: (bytes: number) => void, cancel: () => void) {
    this.#grant = grant
    this.#cancel = cancel
  }

  push(bytes: Uint8Array): void {
    if (this.#ended) return
    arrayPush(this.#chunks, bytes)
    hasten(typedArrayByteLength(bytes))
    this.#notify()
  }

  end(): void {
    this.#ended = true
    this.#notify()
  }

  fail(error: unknown): void {
    if (this.#ended) return
    this.#ended = true
    this.#error = error
    this.#notify()
  }

  /** The next chunk, or null at the end. Rejects when the body broke off. */
  async read(): Promise<Uint8Array | null> {
    while (this.#first === this.#chunks.length) {
      if (this.#error !== undefined) throw this.#error
      if (this.#ended) return null
      await new PromiseConstructor<void>((resolve) => {
        this.#wake = resolve
      })
    }
    const chunk = this.#chunks[this.#first]!
    this.#first++
    if (this.#first === this.#chunks.length) {
      this.#chunks = []
      this.#first = 0
    }
    if (!this.#ended) this.#grant(typedArrayByteLength(chunk))
    return chunk
  }

  /** Everything that is still to come. */
  async readAll(): Promise<Uint8Array> {
    const chunks: Uint8Array[] = []
    let length = 0
    for (let chunk = await this.read(); chunk !== null; chunk = await this.read()) {
      arrayPush(chunks, chunk)
      length += typedArrayByteLength(chunk)
    }
    return concat(chunks, length)
  }

  cancel(): void {
    if (this.#ended) return
    this.#ended = true
    this.#chunks = []
    this.#first = 0
    this.#cancel()
    this.#notify()
  }

  toStream(): ReadableStream {
    return new ReadableStream(
      {
        type: 'bytes',
        pull: async (controller) => {
          const chunk = await this.read()
          if (chunk !== null) {
            controller.enqueue(chunk as Uint8Array<ArrayBuffer>)
            return
          }
          controller.close()
          controller.byobRequest?.respond(0)
        },
        cancel: () => this.cancel(),
      },
      { highWaterMark: 0 },
    )
  }

  #notify(): void {
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }
}

export function concat(chunks: Uint8Array[], length: number): Uint8Array {
  if (chunks.length === 1) return chunks[0]!
  const whole = new Uint8Array(length)
  for (let i = 0, at = 0; i < chunks.length; i++) {
    typedArraySet(whole, chunks[i]!, at)
    at += typedArrayByteLength(chunks[i]!)
  }
  return whole
}
