/** What one function may use. The defaults are the contract's; an operator sets others and their ceilings. */
export interface Limits {
  /** CPU time of one event, ms. */
  cpuMs: number
  /** CPU time of evaluating the bundle, ms. */
  startMs: number
  /** Wall time of one event, `waitUntil` included, ms. */
  wallMs: number
  /** V8 heap and external memory, MB (1,048,576 bytes). */
  memoryMb: number
  /** Outbound requests of one event. */
  subrequests: number
  /** Outbound requests of one event at the same time. */
  subrequestsAtOnce: number
  /** Events in flight; more wait, up to as many again, then `overloaded`. */
  concurrency: number
  /** Timers at a time, `setInterval` included. */
  timers: number
  /** Bytes of log text of one event. */
  logBytes: number
  /** Bytes of a request body. */
  bodyBytes: number
  /** Bytes of a bundle. */
  bundleBytes: number
}

export const DEFAULT_LIMITS: Limits = {
  cpuMs: 50,
  startMs: 400,
  wallMs: 30_000,
  memoryMb: 128,
  subrequests: 50,
  subrequestsAtOnce: 6,
  concurrency: 200,
  timers: 10_000,
  logBytes: 262_144,
  bodyBytes: 104_857_600,
  bundleBytes: 10_485_760,
}
