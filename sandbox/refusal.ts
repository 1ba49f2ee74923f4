import type { RunOutcome } from './engine.ts'

/** Why a sandbox did not start: a message and the stack of what was thrown, or ''. */
export interface Refusal {
  message: string
  stack: string
}

/** In words for the author. */
export function whyNotStarted(outcome: RunOutcome, limits: { startMs: number; memoryMb: number }): string {
  switch (outcome.kind) {
    case 'timeout':
      return `Its top level used more than ${limits.startMs} ms. Do less there, or do it in the handler.`
    case 'memory':
      return `Its top level used more than ${limits.memoryMb} MB of memory.`
    case 'threw':
      return `Its top level threw: ${outcome.message}`
    default:
      return 'It was ended while it started.'
  }
}
