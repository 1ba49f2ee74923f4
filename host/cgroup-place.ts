import { basename, dirname, join } from 'node:path'
import type { CgroupSystem } from './cgroup-system.ts'

/** Where memory groups can be made. Plain data: the supervisor tells its workers, which are in groups themselves by then. */
export interface GroupPlace {
  /** Of cgroups. */
  version: 1 | 2
  folder: string
}

/** The group of the host's own process where groups beside it have limits. By this name it is known to be there on purpose. */
export const LEAF = 'skep-host'

interface Mount {
  root: string
  point: string
  type: string
  options: string[]
}

/**
 * Where this process may make groups with a bound on memory, or why nowhere. In version 2 a group that has processes of its
 * own cannot bound its children's memory: the caller's process, if it is alone in its group, moves into a leaf below it.
 */
export function findPlace(system: CgroupSystem): GroupPlace | string {
  const own = tryRead(system, '/proc/self/cgroup')
  if (own === undefined) return 'this system has no cgroups'
  const mounts = parseMounts(tryRead(system, '/proc/self/mountinfo') ?? '')
  const path2 = /^0::(.*)$/m.exec(own)?.[1]
  const folder2 = folderOf(path2, mounts, ({ type }) => type === 'cgroup2')
  if (folder2 !== undefined) {
    const parent = basename(path2!) === LEAF ? dirname(folder2) : folder2
    if (words(tryRead(system, join(parent, 'cgroup.controllers'))).includes('memory')) return prepare(system, parent, folder2)
  }
  const path1 = /^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:(.*)$/m.exec(own)?.[1]
  const folder1 = folderOf(path1, mounts, ({ type, options }) => type === 'cgroup' && options.includes('memory'))
  if (folder1 !== undefined) return { version: 1, folder: folder1 }
  return folder2 === undefined ? 'no cgroups are mounted here' : `there is no memory controller in ${folder2}`
}

/** Has the children of `parent` bounded; `own` is this process's group: the same, or the leaf in it. */
function prepare(system: CgroupSystem, parent: string, own: string): GroupPlace | string {
  const place = { version: 2, folder: parent } as const
  const control = join(parent, 'cgroup.subtree_control')
  if (words(tryRead(system, control)).includes('memory')) return place
  const leaf = join(parent, LEAF)
  const moves = own === parent
  try {
    if (moves) {
      const strangers = words(system.read(join(own, 'cgroup.procs'))).filter((pid) => pid !== String(system.pid))
      if (strangers.length > 0) return `other processes are in ${own}: ${strangers.slice(0, 5).join(', ')}`
      if (!system.list(parent).includes(LEAF)) system.makeFolder(leaf)
      system.write(join(leaf, 'cgroup.procs'), String(system.pid))
    }
    system.write(control, '+memory')
    return place
  } catch (error) {
    if (moves) goBack(system, parent, leaf)
    return whyNot(error, parent)
  }
}

function goBack(system: CgroupSystem, parent: string, leaf: string): void {
  try {
    system.write(join(parent, 'cgroup.procs'), String(system.pid))
    system.removeFolder(leaf)
  } catch {
    // It had not moved, or stays where it is: as good a place.
  }
}

export function whyNot(error: unknown, folder: string): string {
  const { code, message } = error as NodeJS.ErrnoException
  return code === 'EACCES' || code === 'EPERM' || code === 'EROFS' ? `${folder} is not writable (${code})` : message
}

export function tryRead(system: CgroupSystem, path: string): string | undefined {
  try {
    return system.read(path)
  } catch {
    return undefined
  }
}

function words(text = ''): string[] {
  return text.split(/\s+/).filter((word) => word !== '')
}

/** A container may see only a part of a hierarchy: then its mount begins at `root`, and paths are still whole. */
function folderOf(path: string | undefined, mounts: Mount[], fits: (mount: Mount) => boolean): string | undefined {
  if (path === undefined) return undefined
  for (const mount of mounts) {
    const root = mount.root === '/' ? '' : mount.root
    if (fits(mount) && (path === root || path.startsWith(`${root}/`))) return join(mount.point, path.slice(root.length))
  }
  return undefined
}

/** `36 35 98:0 /root /point rw,noatime shared:1 - type source rw,memory` */
function parseMounts(text: string): Mount[] {
  return text.split('\n').flatMap((line) => {
    const [before = '', after = ''] = line.split(' - ')
    const [, , , root, point] = before.split(' ').map(unescaped)
    const [type, , options] = after.split(' ')
    if (root === undefined || point === undefined || type === undefined || options === undefined) return []
    return [{ root, point, type, options: options.split(',') }]
  })
}

/** A space within a path is `\040`. */
function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
}
