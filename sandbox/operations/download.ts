import type { Transform } from 'node:stream'
import type { Dispatcher } from 'undici'
import { ownBytes } from '../bytes.ts'
import { INITIAL_CREDIT } from '../protocol.ts'
import type { TenantNetwork } from './network.ts'
import { createDecoder, windowOf } from './unpack.ts'

/**
 * Unpacking is the host's CPU time, and costs the sender next to nothing: what grows beyond this size must not have
 * grown by more than this factor. Text packs 3 to 20 times, long runs of the same line some 50 times.
 */
const FREE_BYTES = 16_777_216
const MOST_RATIO = 100

export interface DownloadObserver {
  chunk(bytes: Uint8Array): void
  ended(): void
  failed(error: Error): void
}

/** The answer's body: unpacked, and sent on as fast as the guest takes it. */
export class Download {
  readonly #controller: Dispatcher.DispatchController
  readonly #codings: string[]
  readonly #network: TenantNetwork
  readonly #observer: DownloadObserver
  #decoders: Transform[] = []
  #window = 0
  #credit = INITIAL_CREDIT
  #wireBytes = 0
  #isClosed = false

  /** Throws a TypeError where the tenant unpacks too much already. */
  constructor(controller: Dispatcher.DispatchController, codings: string[], network: TenantNetwork, observer: DownloadObserver) {
    this.#controller = controller
    this.#codings = codings
    this.#network = network
    this.#observer = observer
    const window = windowOf(codings)
    if (!network.takeWindow(window)) throw new TypeError('too many packed answers are being read at once')
    this.#window = window
  }

  credit(bytes: number): void {
    const before = this.#credit
    // A guest that grants more than was ever open is broken: its inbox is not to fill up for it.
    this.#credit = Math.min(before + bytes, INITIAL_CREDIT)
    if (this.#isClosed || before > 0 || this.#credit <= 0) return
    const last = this.#decoders.at(-1)
    if (last === undefined) this.#controller.resume()
    else last.resume()
  }

  /** From the wire. */
  write(chunk: Uint8Array): void {
    if (this.#isClosed) return
    this.#wireBytes += chunk.length
    if (this.#codings.length === 0) {
      this.#deliver(chunk, this.#controller)
      return
    }
    if (this.#decoders.length === 0) this.#connectDecoders(chunk[0]!)
    const first = this.#decoders[0]!
    if (first.write(chunk)) return
    this.#controller.pause()
    first.once('drain', () => this.#controller.resume())
  }

  /** The wire has said all. */
  end(): void {
    if (this.#isClosed) return
    if (this.#decoders.length === 0) this.#end()
    else this.#decoders[0]!.end()
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#network.returnWindow(this.#window)
    for (const decoder of this.#decoders) decoder.destroy()
  }

  #end(): void {
    this.close()
    this.#observer.ended()
  }

  #fail(error: Error): void {
    if (this.#isClosed) return
    this.close()
    this.#observer.failed(error)
  }

  #connectDecoders(first: number): void {
    // Of the inner coding's first byte nothing is known yet; zlib's header is what the standard asks for.
    this.#decoders = this.#codings.map((coding, i) => createDecoder(coding, i === 0 ? first : 8))
    this.#decoders.forEach((decoder, i) => {
      const next = this.#decoders[i + 1]
      let bytes = 0
      decoder.on('data', (chunk: Uint8Array) => {
        bytes += chunk.length
        if (bytes > FREE_BYTES && bytes > this.#wireBytes * MOST_RATIO) {
          this.#fail(new TypeError(`its body unpacks to more than ${MOST_RATIO} times of what was sent`))
        } else if (next === undefined) this.#deliver(chunk, decoder)
        else if (!next.write(chunk)) {
          decoder.pause()
          next.once('drain', () => decoder.resume())
        }
      })
      decoder.once('end', () => {
        if (this.#isClosed) return
        if (next === undefined) this.#end()
        else next.end()
      })
      decoder.once('error', () => this.#fail(new TypeError('its body is not packed as it says')))
    })
  }

  #deliver(chunk: Uint8Array, source: { pause(): void }): void {
    if (this.#isClosed) return
    this.#credit -= chunk.length
    if (this.#credit <= 0) source.pause()
    this.#observer.chunk(ownBytes(chunk))
  }
}
