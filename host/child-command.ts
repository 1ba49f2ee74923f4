import { spawnSync } from 'node:child_process'
import { accessSync, constants, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { JOIN, SHELL } from './cgroup-system.ts'

/** A lower priority of the operating system, as `nice` has it: whoever has not this one goes first. */
const GENTLE = '10'

/** What a child that is blocked is ended by when its parent is gone; see parent-watch.ts. */
export const WATCH_PARENT = '--skep-watch-parent'

export interface ChildCommand {
  command: string
  /** Before node's own arguments. */
  before: string[]
  /** After the script's path. */
  after: string[]
}

let dies: string | undefined | null = null

/**
 * How to start node as a child that does not outlive this process. The end of its pipe tells a child that turns its event
 * loop; one that is stopped or blocked is ended by the kernel, where util-linux' setpriv can ask it for that, and else
 * by a thread that watches (not when it is stopped). `group` is the file by which it joins a cgroup of its own.
 */
export function childCommand(options: { gentle?: boolean; group?: string | undefined } = {}): ChildCommand {
  if (dies === null) dies = findSetpriv()
  const chain: string[] = []
  // Before it is node: what a process has taken before it joins stays on its parent's account.
  if (options.group !== undefined) chain.push(SHELL, '-c', JOIN, options.group)
  const nice = options.gentle === true ? find('nice') : undefined
  if (nice !== undefined) chain.push(nice, '-n', GENTLE)
  if (dies !== undefined) chain.push(dies, '--pdeathsig', 'KILL', '--')
  chain.push(process.execPath)
  return { command: chain[0]!, before: chain.slice(1), after: dies === undefined ? [WATCH_PARENT] : [] }
}

/** Makes the kernel, when memory runs out, take such a process before others. Raising it needs no right; 0 to 1000. */
export function offerToKernel(pid: number, score: number): boolean {
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, String(score))
    return true
  } catch {
    return false
  }
}

/** BusyBox has a setpriv too, which cannot do this. */
function findSetpriv(): string | undefined {
  if (process.platform !== 'linux') return undefined
  const path = find('setpriv')
  if (path === undefined) return undefined
  const { status } = spawnSync(path, ['--pdeathsig', 'KILL', '--', path, '--version'], { stdio: 'ignore', timeout: 5_000 })
  return status === 0 ? path : undefined
}

function find(name: string): string | undefined {
  for (const folder of ['/usr/bin', '/bin', '/usr/local/bin']) {
    try {
      accessSync(join(folder, name), constants.X_OK)
      return join(folder, name)
    } catch {
      // It is elsewhere, or nowhere.
    }
  }
  return undefined
}
