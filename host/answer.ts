import { STATUS_CODES } from 'node:http'
import { ERRORS } from './errors.ts'
import type { ErrorCode } from './errors.ts'
import type { Exchange } from './listener/listener.ts'

/** What a caller of a function may get to see. Anything else that goes wrong there is `internal`. */
export const DATA_CODES: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'unknown_host',
  'bad_request',
  'body_too_large',
  'headers_too_large',
  'loop_detected',
  'overloaded',
  'function_threw',
  'no_response',
  'bad_response',
  'cpu_exceeded',
  'memory_exceeded',
  'timeout',
  'start_failed',
  'quarantined',
  'store_unavailable',
  'store_corrupt',
  'draining',
  'saturated',
  'worker_lost',
  'internal',
])

/** Seconds after which a caller may try again, by code. */
const RETRY_AFTER: Partial<Record<ErrorCode, string>> = {
  overloaded: '1',
  saturated: '1',
  draining: '1',
  store_unavailable: '2',
  worker_lost: '1',
  quarantined: '10',
}

/**
 * Answers with the bare reason phrase: what went wrong inside is for the function's log, not for its callers.
 * `retryAfter`, s: what is known better than the code alone tells.
 */
export function answerError(exchange: Exchange, code: ErrorCode, requestId: string, retryAfter?: number): void {
  const { status } = ERRORS[code]
  const headers = ['content-type', 'text/plain; charset=utf-8', 'skep-error', code, 'skep-request-id', requestId]
  const seconds = retryAfter === undefined ? RETRY_AFTER[code] : String(retryAfter)
  if (seconds !== undefined) headers.push('retry-after', seconds)
  exchange.respond(status, headers, STATUS_CODES[status] ?? 'Error')
}
