import { performance } from 'node:perf_hooks'

/** Time as the request path sees it, so that a test can move it by hand. */
export interface Clock {
  /** Milliseconds that only go up. */
  now(): number
  setTimeout(run: () => void, ms: number): object
  clearTimeout(timer: object | undefined): void
}

export const systemClock: Clock = {
  now: () => performance.now(),
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout | undefined),
}
