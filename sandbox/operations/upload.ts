import { INITIAL_CREDIT } from '../protocol.ts'

/** The body that the guest streams into its request: taken within the room that it was given, sent as fast as the wire takes it. */
export class Upload implements AsyncIterable<Uint8Array> {
  readonly #grant: (bytes: number) => void
  #chunks: Uint8Array[] = []
  /** Bytes that the guest may send and has not sent. */
  #room = INITIAL_CREDIT
  #hasEnded = false
  #isClosed = false
  #wake: (() => void) | undefined

  constructor(grant: (bytes: number) => void) {
    this.#grant = grant
  }

  /** False when the guest sends more than it was given room for: nothing else would bound what waits here. */
  push(bytes: Uint8Array): boolean {
    if (this.#isClosed || this.#hasEnded) return true
    this.#room -= bytes.length
    if (this.#room < 0) return false
    if (bytes.length > 0) this.#chunks.push(bytes)
    this.#wake?.()
    return true
  }

  end(): void {
    this.#hasEnded = true
    this.#wake?.()
  }

  /** The request has ended without wanting the rest. */
  close(): void {
    this.#isClosed = true
    this.#chunks = []
    this.#wake?.()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    while (!this.#isClosed) {
      const chunks = this.#chunks
      this.#chunks = []
      for (const chunk of chunks) {
        if (this.#isClosed) return
        yield chunk
        // The socket has taken it.
        this.#room += chunk.length
        this.#grant(chunk.length)
      }
      if (this.#chunks.length > 0) continue
      if (this.#hasEnded) return
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }
}
