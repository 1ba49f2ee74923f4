import type { ErrorCode } from '../host/errors.ts'

/** One limit: everything that schemas, the API, the project file and the documents say about it. */
export interface LimitRule {
  default: number
  /** What an operator may set, both ends included. */
  min: number
  max: number
  unit: 'ms' | 'MB' | 'bytes' | ''
  whole: boolean
  /** A version may ask for its own up to this much, unless the operator says otherwise. Absent: the operator's alone. */
  ceiling?: number
  what: string
  /** What happens when it is passed, and with which code, where there is one. */
  passed: string
  code?: ErrorCode
}

/**
 * What one function may use. The defaults are the contract's; the ranges keep out what makes no sense: a timer set beyond
 * its range fires at once, and half an event never ends.
 */
export const LIMITS = {
  cpuMs: {
    ...{ default: 50, min: 1, max: 600_000, unit: 'ms', whole: false, ceiling: 30_000 },
    ...{ what: 'CPU time of an event', passed: 'the isolate is replaced', code: 'cpu_exceeded' },
  },
  startMs: {
    ...{ default: 400, min: 1, max: 60_000, unit: 'ms', whole: false },
    ...{ what: 'CPU time of loading the module', passed: 'the upload is refused', code: 'start_failed' },
  },
  wallMs: {
    ...{ default: 30_000, min: 1, max: 3_600_000, unit: 'ms', whole: false, ceiling: 900_000 },
    ...{ what: 'wall time of an event, `waitUntil` included', passed: '`request.signal` aborts', code: 'timeout' },
  },
  memoryMb: {
    ...{ default: 128, min: 8, max: 4096, unit: 'MB', whole: false, ceiling: 512 },
    ...{ what: 'heap, buffers and wasm memory, of 1,048,576 bytes each' },
    ...{ passed: 'the isolate is replaced once its events have ended, and a quarter above it at once', code: 'memory_exceeded' },
  },
  subrequests: {
    ...{ default: 50, min: 0, max: 10_000, unit: '', whole: true, ceiling: 1_000 },
    ...{ what: 'outbound requests of an event', passed: 'the `fetch` promise rejects' },
  },
  subrequestsAtOnce: {
    ...{ default: 6, min: 1, max: 1_000, unit: '', whole: true },
    ...{ what: 'outbound requests of an event at the same time', passed: 'further ones wait' },
  },
  concurrency: {
    ...{ default: 200, min: 1, max: 100_000, unit: '', whole: true, ceiling: 1_000 },
    ...{ what: 'events in flight, per isolate', passed: 'as many again wait, more are refused', code: 'overloaded' },
  },
  timers: {
    ...{ default: 10_000, min: 0, max: 100_000, unit: '', whole: true },
    ...{ what: 'timers at a time, intervals included', passed: '`setTimeout` throws a QuotaExceededError' },
  },
  logBytes: {
    ...{ default: 262_144, min: 0, max: 16_777_216, unit: 'bytes', whole: true },
    ...{ what: 'log of an event', passed: 'the rest is dropped, and the log says so' },
  },
  headerBytes: {
    ...{ default: 131_072, min: 1_024, max: 1_048_576, unit: 'bytes', whole: true },
    ...{ what: 'all header fields of an answer', passed: 'the answer is not sent', code: 'bad_response' },
  },
  bodyBytes: {
    ...{ default: 104_857_600, min: 0, max: 1_099_511_627_776, unit: 'bytes', whole: true },
    ...{ what: 'request body', passed: 'it is read no further', code: 'body_too_large' },
  },
  bundleBytes: {
    ...{ default: 10_485_760, min: 1, max: 104_857_600, unit: 'bytes', whole: true },
    ...{ what: 'bundle with its source map', passed: 'the upload is refused', code: 'bundle_too_large' },
  },
} as const satisfies Record<string, LimitRule>

export type LimitName = keyof typeof LIMITS
export type Limits = Record<LimitName, number>

/** Those that a version may set itself. */
export type VersionLimitName = { [K in LimitName]: (typeof LIMITS)[K] extends { ceiling: number } ? K : never }[LimitName]

export const LIMIT_NAMES = Object.keys(LIMITS) as LimitName[]
export const VERSION_LIMIT_NAMES = LIMIT_NAMES.filter((name) => 'ceiling' in LIMITS[name]) as VersionLimitName[]

export const DEFAULT_LIMITS = pick(LIMIT_NAMES, (name) => LIMITS[name].default)
export const DEFAULT_CEILINGS = pick(VERSION_LIMIT_NAMES, (name) => LIMITS[name].ceiling)

/** A record with a value for each name. */
export function pick<K extends string, V>(names: K[], value: (name: K) => V): Record<K, V> {
  return Object.fromEntries(names.map((name) => [name, value(name)])) as Record<K, V>
}
