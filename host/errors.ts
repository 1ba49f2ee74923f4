/**
 * Every coded error of skep, in one list. `whose` says who can mend it: the caller of a function, the tenant who wrote
 * it, the operator of the host, or us. The status is the one of the HTTP answer, on the data port or on the API port.
 */
export const ERRORS = {
  // A caller's, on the data port.
  unknown_host: { status: 404, whose: 'caller' },
  bad_request: { status: 400, whose: 'caller' },
  body_too_large: { status: 413, whose: 'caller' },
  headers_too_large: { status: 431, whose: 'caller' },
  loop_detected: { status: 508, whose: 'caller' },
  // A tenant's, on the data port.
  overloaded: { status: 429, whose: 'tenant' },
  function_threw: { status: 500, whose: 'tenant' },
  no_response: { status: 500, whose: 'tenant' },
  bad_response: { status: 500, whose: 'tenant' },
  cpu_exceeded: { status: 503, whose: 'tenant' },
  memory_exceeded: { status: 503, whose: 'tenant' },
  timeout: { status: 504, whose: 'tenant' },
  start_failed: { status: 503, whose: 'tenant' },
  quarantined: { status: 503, whose: 'tenant' },
  // An operator's, on the data port.
  store_unavailable: { status: 503, whose: 'operator' },
  draining: { status: 503, whose: 'operator' },
  saturated: { status: 503, whose: 'operator' },
  worker_lost: { status: 503, whose: 'operator' },
  // Ours.
  internal: { status: 500, whose: 'skep' },

  // A client's of the control API, the command line or the library.
  unauthorized: { status: 401, whose: 'caller' },
  forbidden: { status: 403, whose: 'caller' },
  not_found: { status: 404, whose: 'caller' },
  route_conflict: { status: 409, whose: 'caller' },
  precondition_failed: { status: 412, whose: 'caller' },
  invalid_request: { status: 400, whose: 'caller' },
  invalid_name: { status: 400, whose: 'caller' },
  invalid_hostname: { status: 400, whose: 'caller' },
  bundle_failed: { status: 422, whose: 'tenant' },
  bundle_too_large: { status: 413, whose: 'tenant' },
  bundle_rejected: { status: 422, whose: 'tenant' },
  // An operator's, at start.
  invalid_config: { status: 500, whose: 'operator' },
  port_in_use: { status: 500, whose: 'operator' },
  missing_flag: { status: 500, whose: 'operator' },
  store_conflict: { status: 409, whose: 'operator' },
  store_corrupt: { status: 503, whose: 'operator' },
  store_full: { status: 503, whose: 'operator' },
} as const satisfies Record<string, { status: number; whose: 'caller' | 'tenant' | 'operator' | 'skep' }>

export type ErrorCode = keyof typeof ERRORS

/** An error with a code of the list above. Its message says what happened and what to do about it. */
export class SkepError extends Error {
  readonly code: ErrorCode
  /** Fields that a machine may want: `{ file, line }` of a syntax error, `{ allowed }` of a limit. */
  readonly details: Record<string, unknown> | undefined

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown; details?: Record<string, unknown> }) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'SkepError'
    this.code = code
    this.details = options?.details
  }

  get status(): number {
    return ERRORS[this.code].status
  }
}
