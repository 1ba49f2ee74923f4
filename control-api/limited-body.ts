import { SkepError } from '../host/errors.ts'
import type { ErrorCode } from '../host/errors.ts'

/** A request's body that fails once it passes `max` bytes, while it streams in. */
export interface LimitedBody {
  stream: ReadableStream<Uint8Array> | null
  /** Set once it was too large: what reads the stream may wrap or hide the error. */
  failure: SkepError | undefined
}

/** Throws at once where the declared length is already too much. */
export function limitBody(request: Request, max: number, code: ErrorCode): LimitedBody {
  const tooLarge = () => new SkepError(code, `The body may have ${max} bytes.`, { details: { allowed: max } })
  if (Number(request.headers.get('content-length') ?? 0) > max) throw tooLarge()
  const body: LimitedBody = { stream: null, failure: undefined }
  let size = 0
  const count = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      size += chunk.byteLength
      if (size <= max) return controller.enqueue(chunk)
      body.failure = tooLarge()
      controller.error(body.failure)
    },
  })
  body.stream = (request.body as ReadableStream<Uint8Array> | null)?.pipeThrough(count) ?? null
  return body
}
