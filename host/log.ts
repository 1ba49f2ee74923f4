import { pino } from 'pino'
import type { Logger } from 'pino'

export type Log = Logger

/** The host's own log: JSON lines, or readable ones on a terminal. A function's console goes to the same stream as `functionLog` lines. */
export async function createLog(options: { level: string; pretty?: boolean; name?: string }): Promise<Log> {
  const settings = { level: options.level, base: options.name === undefined ? {} : { process: options.name } }
  if (!(options.pretty ?? process.stdout.isTTY)) return pino(settings)
  const { default: pretty } = await import('pino-pretty')
  return pino(settings, pretty({ colorize: process.stdout.isTTY, ignore: 'hostname,pid', singleLine: true, sync: true }))
}

/** For libraries: a log that says nothing. */
export function silentLog(): Log {
  return pino({ level: 'silent' })
}
