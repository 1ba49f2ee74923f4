import { basename, dirname } from 'node:path'
import type { CgroupSystem } from '../cgroup-system.ts'

interface Group {
  files: Map<string, string>
  procs: Set<number>
}

/** A system whose cgroups heed the kernel's rules, as far as memory groups meet them. */
export class FakeCgroups implements CgroupSystem {
  /** Who asks. */
  pid: number
  readonly version: 1 | 2
  readonly groups = new Map<string, Group>()
  /** Files outside of groups. */
  readonly files = new Map<string, string>()
  readonly alive = new Set<number>()
  /** Nobody may change anything. */
  isReadOnly = false
  canJoin = true
  /** Controllers that version 2 offers in `root`. */
  readonly #controllers: string

  constructor(version: 1 | 2, options: { root: string; pid?: number; controllers?: string; neighbours?: number[] }) {
    this.version = version
    this.pid = options.pid ?? 100
    this.#controllers = options.controllers ?? 'cpu memory pids'
    this.groups.set(options.root, this.#group(options.root, [this.pid, ...(options.neighbours ?? [])]))
    for (const pid of [this.pid, ...(options.neighbours ?? [])]) this.alive.add(pid)
  }

  read(path: string): string {
    const group = this.groups.get(dirname(path))
    const text =
      group !== undefined && basename(path) === 'cgroup.procs'
        ? [...group.procs].map((pid) => `${pid}\n`).join('')
        : (group?.files.get(basename(path)) ?? this.files.get(path))
    if (text === undefined) throw failure('ENOENT', path)
    return text
  }

  write(path: string, text: string): void {
    if (this.isReadOnly) throw failure('EROFS', path)
    const folder = dirname(path)
    const group = this.groups.get(folder)
    if (group === undefined) throw failure('ENOENT', path)
    if (basename(path) === 'cgroup.procs') {
      this.move(Number(text), folder)
      return
    }
    // A kernel's folder takes no new files.
    if (!group.files.has(basename(path))) throw failure('EACCES', path)
    if (basename(path) !== 'cgroup.subtree_control') {
      group.files.set(basename(path), text)
      return
    }
    if (group.procs.size > 0) throw failure('EBUSY', path)
    group.files.set('cgroup.subtree_control', text.slice(1))
    for (const [child, { files }] of this.groups)
      if (dirname(child) === folder) for (const [name, value] of this.#memoryFiles()) files.set(name, value)
  }

  list(folder: string): string[] {
    const group = this.groups.get(folder)
    if (group === undefined) throw failure('ENOENT', folder)
    return [
      ...group.files.keys(),
      ...[...this.groups.keys()].filter((path) => dirname(path) === folder).map((path) => basename(path)),
    ]
  }

  makeFolder(path: string): void {
    if (this.isReadOnly) throw failure('EROFS', path)
    if (this.groups.has(path)) throw failure('EEXIST', path)
    if (!this.groups.has(dirname(path))) throw failure('ENOENT', path)
    this.groups.set(path, this.#group(path, []))
  }

  removeFolder(path: string): void {
    const group = this.groups.get(path)
    if (group === undefined) throw failure('ENOENT', path)
    if (group.procs.size > 0) throw failure('EBUSY', path)
    this.groups.delete(path)
  }

  isAlive(pid: number): boolean {
    return this.alive.has(pid)
  }

  joins(procs: string): boolean {
    return this.canJoin && this.groups.has(dirname(procs))
  }

  /** A process ends here, and is there. */
  move(pid: number, folder: string): void {
    for (const { procs } of this.groups.values()) procs.delete(pid)
    this.groups.get(folder)!.procs.add(pid)
  }

  end(pid: number): void {
    for (const { procs } of this.groups.values()) procs.delete(pid)
    this.alive.delete(pid)
  }

  #group(path: string, pids: number[]): Group {
    const files = new Map<string, string>()
    if (this.version === 1) for (const [name, text] of this.#memoryFiles()) files.set(name, text)
    else {
      const parent = this.groups.get(dirname(path))?.files
      const controllers = parent === undefined ? this.#controllers : (parent.get('cgroup.subtree_control') ?? '')
      files.set('cgroup.controllers', controllers).set('cgroup.subtree_control', '')
      if (parent !== undefined && controllers.includes('memory'))
        for (const [name, text] of this.#memoryFiles()) files.set(name, text)
    }
    return { files, procs: new Set(pids) }
  }

  #memoryFiles(): [string, string][] {
    return this.version === 1
      ? [
          ['memory.limit_in_bytes', '9223372036854771712'],
          ['memory.swappiness', '60'],
          ['memory.failcnt', '0'],
          ['memory.max_usage_in_bytes', '0'],
          ['memory.oom_control', 'oom_kill_disable 0\nunder_oom 0\noom_kill 0\n'],
        ]
      : [
          ['memory.max', 'max'],
          ['memory.swap.max', 'max'],
          ['memory.oom.group', '0'],
          ['memory.peak', '0'],
          ['memory.events', 'low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n'],
        ]
  }
}

function failure(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code })
}
