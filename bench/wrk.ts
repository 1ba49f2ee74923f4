import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { requireCommand } from './machine.ts'

export interface WrkRun {
  requests: number
  seconds: number
  perSecond: number
  /** Latency, ms. */
  p50: number
  p99: number
  /** Answers with a status of 400 and more. */
  failed: number
  /** Connections that broke, and answers that did not come within wrk's patience. */
  broken: number
}

export interface WrkOptions {
  port: number
  host: string
  path?: string
  connections: number
  seconds: number
  /** The core that the load comes from. */
  core: number
}

export function requireWrk(): void {
  requireCommand('wrk', 'It makes the load: apt-get install wrk, or https://github.com/wg/wrk.')
  requireCommand('taskset', 'It keeps server and load on cores of their own: apt-get install util-linux.')
}

/** Loads a server with as many requests as it takes, over connections that stay open. */
export async function runWrk(options: WrkOptions): Promise<WrkRun> {
  const { port, host, path = '/', connections, seconds, core } = options
  const args = ['-c', String(core), 'wrk', '-t1', `-c${connections}`, `-d${seconds}s`, '--latency', '-H', `Host: ${host}`]
  const { stdout } = await promisify(execFile)('taskset', [...args, `http://127.0.0.1:${port}${path}`])
  return parseWrk(stdout)
}

function parseWrk(text: string): WrkRun {
  const find = (pattern: RegExp) => pattern.exec(text)
  const head = find(/(\d+) requests in ([\d.]+)(ms|s|m)/)
  if (head === null) throw new Error(`wrk printed what is not understood:\n${text}`)
  const requests = Number(head[1])
  const seconds = (milliseconds(head[2]!, head[3]!) ?? 0) / 1000
  const errors = find(/Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/)
  const latency = (percent: number) => {
    const line = find(new RegExp(`^\\s+${percent}%\\s+([\\d.]+)(us|ms|s|m)`, 'm'))
    return line === null ? NaN : milliseconds(line[1]!, line[2]!)
  }
  return {
    requests,
    seconds,
    perSecond: requests / seconds,
    p50: latency(50),
    p99: latency(99),
    failed: Number(find(/Non-2xx or 3xx responses: (\d+)/)?.[1] ?? 0),
    broken: errors === null ? 0 : errors.slice(1).reduce((sum, count) => sum + Number(count), 0),
  }
}

function milliseconds(value: string, unit: string): number {
  return Number(value) * { us: 0.001, ms: 1, s: 1000, m: 60_000 }[unit]!
}
