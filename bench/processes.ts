/** Processes under measurement: started on a core of their own, read through /proc, ended with their children. */
import { execFileSync, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'

/** How long a server may take until it says that it listens, ms. */
const START_PATIENCE = 30_000
const STOP_PATIENCE = 15_000

export interface ServerProcess<T> {
  pid: number
  /** What it sent when it was ready. */
  ready: T
  /** SIGTERM, then SIGKILL for a server that does not end. */
  stop(): Promise<void>
}

/** Starts a file of `bench/servers/`, which sends one message when it listens. `core`: the only one that it may run on. */
export async function startServer<T>(
  file: string,
  settings: object,
  options: { core?: number; nodeArgs?: string[] } = {},
): Promise<ServerProcess<T>> {
  const node = [
    process.execPath,
    '--disable-warning=ExperimentalWarning',
    ...(options.nodeArgs ?? []),
    file,
    JSON.stringify(settings),
  ]
  const [command, ...args] = options.core === undefined ? node : ['taskset', '-c', String(options.core), ...node]
  const child = spawn(command!, args, { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] })
  let output = ''
  for (const stream of [child.stdout!, child.stderr!])
    stream.on('data', (bytes: Buffer) => {
      output = (output + String(bytes)).slice(-4_000)
      if (process.env.DBG) process.stderr.write(bytes)
    })
  const ready = await Promise.race([
    once(child, 'message').then(([message]) => message as T),
    once(child, 'exit').then(([code, signal]) =>
      Promise.reject(new Error(`${file} ended (${signal ?? code}) before it listened:\n${output}`)),
    ),
    sleep(START_PATIENCE).then(() => Promise.reject(new Error(`${file} did not listen within ${START_PATIENCE} ms:\n${output}`))),
  ]).catch((error: unknown) => {
    child.kill('SIGKILL')
    throw error
  })
  return { pid: child.pid!, ready, stop: () => stop(child) }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  const kill = setTimeout(() => child.kill('SIGKILL'), STOP_PATIENCE)
  child.kill('SIGTERM')
  await ended
  clearTimeout(kill)
}

/** A process and all that it started, by id. */
export function treeOf(pid: number): number[] {
  const tree = [pid]
  for (let i = 0; i < tree.length; i++) tree.push(...childrenOf(tree[i]!))
  return tree
}

function childrenOf(pid: number): number[] {
  return threadsOf(pid).flatMap((thread) => numbers(read(`/proc/${pid}/task/${thread}/children`)))
}

function threadsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`)
  } catch {
    return []
  }
}

const ticksPerSecond = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }))

/** CPU seconds, user and system, that these processes have used with all their threads. */
export function cpuSeconds(pids: number[]): number {
  let ticks = 0
  for (const pid of pids) {
    // The name in parentheses may hold spaces: what is counted comes after it.
    const fields = read(`/proc/${pid}/stat`)
      .replace(/^.*\) /s, '')
      .split(' ')
    ticks += Number(fields[11] ?? 0) + Number(fields[12] ?? 0)
  }
  return ticks / ticksPerSecond
}

/** Resident bytes of these processes: now (VmRSS), or each at its own peak (VmHWM). */
export function residentBytes(pids: number[], which: 'VmRSS' | 'VmHWM' = 'VmRSS'): number {
  let kilobytes = 0
  for (const pid of pids) kilobytes += Number(new RegExp(`^${which}:\\s+(\\d+)`, 'm').exec(read(`/proc/${pid}/status`))?.[1] ?? 0)
  return kilobytes * 1024
}

/** Samples what `measure` gives until it is stopped, and then tells the largest. */
export function watchPeak(measure: () => number, intervalMs = 20): () => number {
  let peak = measure()
  const timer = setInterval(() => (peak = Math.max(peak, measure())), intervalMs)
  return () => {
    clearInterval(timer)
    return Math.max(peak, measure())
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

function numbers(text: string): number[] {
  return text.split(' ').flatMap((word) => (word.trim() === '' ? [] : [Number(word)]))
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
