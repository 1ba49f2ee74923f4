import { execFile, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { request as httpRequest } from 'node:http'
import type { Agent, IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'

const CLI = join(import.meta.dirname, '../control-api/cli/main.ts')
const run = promisify(execFile)

export interface Served {
  process: ChildProcess
  data: string
  port: number
  apiPort: number
  /** Lines of the host's log so far. */
  log: string[]
  exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>
  /** Runs a command against this host; rejects where it exits non-zero. */
  skep(...args: string[]): Promise<string>
  get(host: string, path?: string, options?: GetOptions): Promise<Answer>
  /** Waits for a log line. */
  logged(pattern: RegExp): Promise<string>
  status(): Promise<{ pids: number[] }>
  stop(): Promise<void>
}

export interface GetOptions {
  agent?: Agent
  method?: string
  body?: string
}

export interface Answer {
  status: number
  headers: IncomingMessage['headers']
  text: string
}

/** A temporary folder that goes when the test ends. */
export async function temporaryFolder(t: { after(run: () => Promise<void>): void }): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'skep-test-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

export interface ServedOptions {
  data: string
  args?: string[]
  env?: NodeJS.ProcessEnv
  /** A command and its arguments that run what follows them. */
  wrap?: string[]
}

/** `skep serve` as a user starts it, on free ports, with a data folder of its own. */
export async function startServed(options: ServedOptions): Promise<Served> {
  const args = [CLI, 'serve', '--port', '0', '--api-port', '0', '--data', options.data, ...(options.args ?? ['--workers', '2'])]
  const [command, ...rest] = [...(options.wrap ?? []), process.execPath, ...args]
  const child = spawn(command!, rest, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...options.env } })
  const log: string[] = []
  const waiters = new Set<() => void>()
  const take = (line: string) => {
    log.push(line)
    for (const wake of waiters) wake()
  }
  createInterface({ input: child.stdout }).on('line', take)
  createInterface({ input: child.stderr }).on('line', take)
  const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }))
  })
  const logged = (pattern: RegExp) =>
    new Promise<string>((resolve, reject) => {
      const look = () => {
        const line = log.find((candidate) => pattern.test(candidate))
        if (line === undefined) return
        waiters.delete(look)
        resolve(line)
      }
      waiters.add(look)
      look()
      void exited.then(() => reject(new Error(`skep serve ended before it said ${pattern}:\n${log.join('\n')}`)))
    })
  const line = await logged(/^Functions: /)
  const [port, apiPort] = [...line.matchAll(/127\.0\.0\.1:(\d+)/g)].map((match) => Number(match[1])) as [number, number]
  const api = ['--api', `http://127.0.0.1:${apiPort}`, '--data', options.data]
  const served: Served = {
    process: child,
    data: options.data,
    port,
    apiPort,
    log,
    exited,
    skep: async (...command) => (await run(process.execPath, [CLI, ...command, ...api])).stdout,
    get: (host, path = '/', getOptions = {}) => get(port, host, path, getOptions),
    logged,
    status: async () => JSON.parse(await served.skep('status', '--json')) as { pids: number[] },
    stop: async () => {
      child.kill('SIGTERM')
      await exited
    },
  }
  return served
}

export function get(port: number, host: string, path: string, options: GetOptions = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { agent, method = 'GET', body } = options
    const request = httpRequest({
      port,
      host: '127.0.0.1',
      path,
      method,
      headers: { host },
      ...(agent === undefined ? { agent: false } : { agent }),
    })
    request.on('response', (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk) => (text += chunk))
      response.on('end', () => resolve({ status: response.statusCode!, headers: response.headers, text }))
      response.on('error', reject)
    })
    request.on('error', reject)
    request.end(body)
  })
}

/** True once no such process is left; a zombie counts as gone. */
export async function isGone(pid: number): Promise<boolean> {
  const { readFile } = await import('node:fs/promises')
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  return stat === '' || / Z /.test(stat.slice(stat.lastIndexOf(')')))
}

/** Polls until it holds; rejects after `ms`. */
export async function eventually(what: string, check: () => Promise<boolean>, ms = 10_000): Promise<number> {
  const began = performance.now()
  for (;;) {
    if (await check()) return performance.now() - began
    if (performance.now() - began > ms) throw new Error(`It did not come about within ${ms} ms that ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** Process ids of its children, their children, and so on. */
export async function descendants(pid: number): Promise<number[]> {
  const { stdout } = await run('ps', ['-eo', 'pid,ppid'])
  const rows = stdout
    .trim()
    .split('\n')
    .slice(1)
    .map((row) => row.trim().split(/\s+/).map(Number) as [number, number])
  const found: number[] = []
  for (let level = [pid]; level.length > 0;) {
    level = rows.filter(([, parent]) => level.includes(parent)).map(([child]) => child)
    found.push(...level)
  }
  return found
}
