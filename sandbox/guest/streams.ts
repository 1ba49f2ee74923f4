/**
 * The Streams standard, by web-streams-polyfill: it takes `Promise` and `then` when it is evaluated, and needs no global but
 * `AbortController`, which it looks up when a writable stream is made.
 *
 * What the tenant poisons later (`Function.prototype.call`, `Promise.prototype.constructor`) can break its own streams; nothing of the
 * host's is within reach of them.
 */
export {
  ByteLengthQueuingStrategy,
  CountQueuingStrategy,
  ReadableByteStreamController,
  ReadableStream,
  ReadableStreamBYOBReader,
  ReadableStreamBYOBRequest,
  ReadableStreamDefaultController,
  ReadableStreamDefaultReader,
  TransformStream,
  TransformStreamDefaultController,
  WritableStream,
  WritableStreamDefaultController,
  WritableStreamDefaultWriter,
} from 'web-streams-polyfill'
