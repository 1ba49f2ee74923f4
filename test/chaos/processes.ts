import { readdirSync, readFileSync } from 'node:fs'

export interface ProcessInfo {
  pid: number
  parent: number
  role: 'supervisor' | 'worker' | 'cell' | 'other'
  /** As in /proc: R, S, D, T … */
  state: string
}

/** Every living process that was started with this HOME, whoever its parent is by now: skep hands it on to all it starts. */
export function processesOf(home: string): ProcessInfo[] {
  const found: ProcessInfo[] = []
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      if (!readFileSync(`/proc/${name}/environ`, 'latin1').split('\0').includes(`HOME=${home}`)) continue
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1')
      const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ') as [string, string]
      if (state === 'Z' || state === 'X') continue
      found.push({
        pid: Number(name),
        parent: Number(parent),
        role: roleOf(readFileSync(`/proc/${name}/cmdline`, 'latin1')),
        state,
      })
    } catch {
      // It has just ended, or is somebody else's.
    }
  }
  return found
}

function roleOf(command: string): ProcessInfo['role'] {
  if (command.includes('worker-main')) return 'worker'
  if (command.includes('cell-main')) return 'cell'
  return command.includes('\0serve\0') ? 'supervisor' : 'other'
}
