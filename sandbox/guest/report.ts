import { currentEvent } from './current.ts'
import { log } from './log.ts'
import { stringSlice } from './primordials.ts'

let format: (value: unknown) => string = (value) => `${value as string}`

/** How an error is written: the console's way. */
export function setFormatter(formatter: (value: unknown) => string): void {
  format = formatter
}

/** An exception that nobody caught, where no caller can be told. */
export function reportException(error: unknown): void {
  log(currentEvent(), 'error', `Uncaught ${describe(error).stack}`)
}

/** Characters of a message or stack that leave: both go into answers and logs, and what they cost is the host's. */
const MOST = 16_384

/** An error's message and stack as text. Getters and proxies of the tenant may throw here; that must not spread. */
export function describe(error: unknown): { message: string; stack: string } {
  try {
    if (typeof error === 'object' && error !== null) {
      const { message, stack } = error as { message?: unknown; stack?: unknown }
      const text = typeof message === 'string' ? message : format(error)
      return { message: cut(text), stack: cut(typeof stack === 'string' && stack !== '' ? stack : format(error)) }
    }
    const text = cut(format(error))
    return { message: text, stack: text }
  } catch {
    return { message: 'an error that cannot be read', stack: 'an error that cannot be read' }
  }
}

function cut(text: string): string {
  return text.length > MOST ? `${stringSlice(text, 0, MOST)}…` : text
}
