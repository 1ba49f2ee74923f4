import { STATUS_CODES } from 'node:http'
import { ERRORS } from './errors.ts'
import type { ErrorCode } from './errors.ts'
import type { Exchange } from './listener/listener.ts'

/** Seconds after which a caller may try again, by code. */
const RETRY_AFTER: Partial<Record<ErrorCode, string>> = {
  overloaded: '1',
  saturated: '1',
  draining: '1',
  store_unavailable: '2',
  worker_lost: '1',
}

/** Answers with the bare reason phrase: what went wrong inside is for the function's log, not for its callers. */
export function answerError(exchange: Exchange, code: ErrorCode, requestId: string): void {
  const { status } = ERRORS[code]
  const headers = ['content-type', 'text/plain; charset=utf-8', 'skep-error', code, 'skep-request-id', requestId]
  const retryAfter = RETRY_AFTER[code]
  if (retryAfter !== undefined) headers.push('retry-after', retryAfter)
  exchange.respond(status, headers, STATUS_CODES[status] ?? 'Error')
}
