import type { MiddlewareHandler } from 'hono'
import { SkepError } from '../host/errors.ts'
import type { ErrorCode } from '../host/errors.ts'

/** Bytes of a JSON body. Bundles and the raw bodies of invocations have limits of their own. */
export const JSON_BYTES = 1_048_576

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

/**
 * Reads a JSON body within its limit, before anything else does. hono's own `bodyLimit` makes its new Request out of the
 * server's lazy one, which only works where the process's Request has been replaced.
 */
export const readSmallBody: MiddlewareHandler = async (context, next) => {
  const { raw } = context.req
  if (raw.body === null) return next()
  const body = limitBody(raw, JSON_BYTES, 'body_too_large')
  let text: string
  try {
    text = await new Response(body.stream).text()
  } catch (cause) {
    throw body.failure ?? new SkepError('invalid_request', 'The body was cut off.', { cause })
  }
  context.req.raw = new Request(raw.url, { method: raw.method, headers: raw.headers, body: text })
  return next()
}
