import { STATUS_CODES } from 'node:http'
import { ERRORS, SkepError } from '../host/errors.ts'
import type { ErrorCode } from '../host/errors.ts'

/** An RFC 9457 problem document, as the API sends it. */
export interface Problem {
  /** `urn:skep:error:` and the code. */
  type: string
  title: string
  status: number
  /** What happened and what to do about it. */
  detail: string
  code: ErrorCode
  requestId: string
  /** Fields that a machine may want. */
  details?: Record<string, unknown>
}

/** On the data port a bundle that does not start is a 503; here it is what the caller sent that cannot be processed. */
const STATUS_HERE: Partial<Record<ErrorCode, number>> = { start_failed: 422 }

export function toProblem(error: SkepError, requestId: string): Problem {
  const { code, details } = error
  const status = STATUS_HERE[code] ?? ERRORS[code].status
  const type = `urn:skep:error:${code}`
  const detail =
    code === 'internal' ? 'This is a fault of skep itself. The host has logged its cause under this request id.' : error.message
  return { type, title: STATUS_CODES[status]!, status, detail, code, requestId, ...(details === undefined ? {} : { details }) }
}

export function problemResponse(error: SkepError, requestId: string): Response {
  const problem = toProblem(error, requestId)
  const headers = new Headers({ 'content-type': 'application/problem+json', 'x-request-id': requestId })
  if (error.code === 'unauthorized') headers.set('www-authenticate', 'Bearer realm="skep"')
  return new Response(JSON.stringify(problem), { status: problem.status, headers })
}
