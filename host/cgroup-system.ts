import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'

/** What cgroups need of the system. Their files are the kernel's own memory: reading or writing one takes microseconds. */
export interface CgroupSystem {
  /** This process. */
  readonly pid: number
  read(path: string): string
  write(path: string, text: string): void
  list(folder: string): string[]
  makeFolder(path: string): void
  removeFolder(path: string): void
  isAlive(pid: number): boolean
  /** Whether a child may join the group by this file. */
  joins(procs: string): boolean
}

/** A shell's: it joins the group whose file of processes is its first argument, whoever it is, and becomes what follows. */
export const JOIN = '{ echo 0 > "$0"; } 2>/dev/null; exec "$@"'
export const SHELL = '/bin/sh'

export const thisSystem: CgroupSystem = {
  pid: process.pid,
  read: (path) => readFileSync(path, 'utf8'),
  write: (path, text) => writeFileSync(path, text),
  list: (folder) => readdirSync(folder),
  makeFolder: (path) => mkdirSync(path),
  removeFolder: (path) => rmdirSync(path),
  isAlive(pid) {
    try {
      process.kill(pid, 0)
      return true
    } catch (error) {
      return (error as NodeJS.ErrnoException).code !== 'ESRCH'
    }
  },
  joins: (procs) => spawnSync(SHELL, ['-c', 'echo 0 > "$0"', procs], { stdio: 'ignore', timeout: 5_000 }).status === 0,
}
