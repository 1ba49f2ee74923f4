import { TextDecoder, utf8Encode } from './encoding.ts'
import { charCodeAt, stringSlice, uncurryThis } from './primordials.ts'
import { TransformStream, TransformStreamDefaultController } from './streams.ts'
import { defineInterface, toDOMString } from './webidl.ts'

type Controller<T> = TransformStreamDefaultController<T>
const enqueue = uncurryThis(TransformStreamDefaultController.prototype.enqueue) as (controller: unknown, chunk: unknown) => void

export class TextEncoderStream {
  #transform: TransformStream<unknown, Uint8Array>
  constructor() {
    // A pair of surrogates may be split between two chunks.
    let lead = ''
    this.#transform = new TransformStream<unknown, Uint8Array>({
      transform(chunk, controller: Controller<Uint8Array>) {
        let text = lead + toDOMString(chunk)
        lead = ''
        if (text === '') return
        const last = charCodeAt(text, text.length - 1)
        if (last >= 0xd800 && last < 0xdc00) {
          lead = stringSlice(text, -1)
          text = stringSlice(text, 0, -1)
        }
        if (text !== '') enqueue(controller, utf8Encode(text))
      },
      flush(controller: Controller<Uint8Array>) {
        if (lead !== '') enqueue(controller, utf8Encode(lead))
      },
    })
  }
  get encoding(): string {
    return this.#transform && 'utf-8'
  }
  get readable(): TransformStream<unknown, Uint8Array>['readable'] {
    return this.#transform.readable
  }
  get writable(): TransformStream<unknown, Uint8Array>['writable'] {
    return this.#transform.writable
  }
}
defineInterface(TextEncoderStream)

const decode = uncurryThis(TextDecoder.prototype.decode) as (decoder: TextDecoder, input?: unknown, options?: unknown) => string
const STREAM = { __proto__: null, stream: true }

export class TextDecoderStream {
  #decoder: TextDecoder
  #transform: TransformStream<unknown, string>
  constructor(label: unknown = 'utf-8', options?: unknown) {
    const decoder = (this.#decoder = new TextDecoder(label, options))
    this.#transform = new TransformStream<unknown, string>({
      transform(chunk, controller: Controller<string>) {
        if (chunk === undefined) throw new TypeError('The chunk is not an ArrayBuffer or a view of one.')
        const text = decode(decoder, chunk, STREAM)
        if (text !== '') enqueue(controller, text)
      },
      flush(controller: Controller<string>) {
        const text = decode(decoder)
        if (text !== '') enqueue(controller, text)
      },
    })
  }
  get encoding(): string {
    return this.#decoder.encoding
  }
  get fatal(): boolean {
    return this.#decoder.fatal
  }
  get ignoreBOM(): boolean {
    return this.#decoder.ignoreBOM
  }
  get readable(): TransformStream<unknown, string>['readable'] {
    return this.#transform.readable
  }
  get writable(): TransformStream<unknown, string>['writable'] {
    return this.#transform.writable
  }
}
defineInterface(TextDecoderStream)
