import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { errnoOf, fileError } from './_file-errors.ts'
import { CONTINUED, decodeSegment, readName, segmentsToFolder } from './_file-names.ts'
import { compareKeys } from './_key.ts'

/** `order` is what every key at or below this entry begins with: `a` of a file, `a/` of a folder. */
interface Entry {
  order: string
  isFolder: boolean
}

/** Folders below this are read anew for every page; reading one is a matter of a millisecond. */
const BIG_FOLDER = 2_000

/** A folder that changed within the file system's clock tick may change again without its time telling. */
const TICK_MS = 100

/**
 * Walks the tree in key order. Names alone are read, no file is opened. Paging through a folder of a million names
 * would read and sort them a thousand times, so the last big folder is kept for as long as its modification time stands.
 */
export class FileList {
  readonly #objects: string
  #kept: { folder: string; mtimeMs: number; entries: Entry[] } | undefined

  constructor(objects: string) {
    this.#objects = objects
  }

  /** The first `limit` keys that begin with `prefix` and come after `cursor`. */
  async page(prefix: string, cursor: string, limit: number): Promise<string[]> {
    const keys: string[] = []
    const whole = prefix.split('/').slice(0, -1)
    await this.#walk(whole, { prefix, cursor, limit, keys })
    return keys
  }

  forget(): void {
    this.#kept = undefined
  }

  async #walk(segments: string[], wanted: { prefix: string; cursor: string; limit: number; keys: string[] }): Promise<void> {
    const { prefix, cursor, limit, keys } = wanted
    const base = segments.map((segment) => `${segment}/`).join('')
    const entries = await this.#entries(join(this.#objects, segmentsToFolder(segments)))
    // The entry whose subtree holds the cursor sorts before it; all others that do hold nothing new.
    const from = Math.max(firstAt(entries, prefix.slice(base.length)), firstAt(entries, cursorIn(base, cursor)) - 1, 0)
    for (let i = from; i < entries.length && keys.length < limit; i++) {
      const { order, isFolder } = entries[i]!
      const key = base + order
      if (!key.startsWith(prefix) && !prefix.startsWith(key)) {
        if (compareKeys(key, prefix) > 0) return
        continue
      }
      if (isFolder) {
        if (compareKeys(key, cursor) > 0 || cursor.startsWith(key)) await this.#walk([...segments, order.slice(0, -1)], wanted)
      } else if (key.startsWith(prefix) && compareKeys(key, cursor) > 0) {
        keys.push(key)
      }
    }
  }

  async #entries(folder: string): Promise<Entry[]> {
    const kept = this.#kept
    try {
      if (kept?.folder === folder && (await stat(folder)).mtimeMs === kept.mtimeMs) return kept.entries
      const { mtimeMs } = await stat(folder)
      const readAt = Date.now()
      const names = await readdir(folder)
      const entries = await toEntries(folder, names, '')
      entries.sort((a, b) => compareKeys(a.order, b.order))
      // A long name's rest lies in a folder with a time of its own, which vouches for nothing here.
      const isFlat = !names.some((name) => name.endsWith(CONTINUED))
      if (isFlat && entries.length >= BIG_FOLDER && mtimeMs < readAt - TICK_MS) this.#kept = { folder, mtimeMs, entries }
      return entries
    } catch (error) {
      if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return []
      throw fileError(error, 'list', folder)
    }
  }
}

/** `begun` is the first part of a segment too long for one name; its rest lies a folder deeper. */
async function toEntries(folder: string, names: string[], begun: string): Promise<Entry[]> {
  const entries: Entry[] = []
  for (const name of names) {
    const read = readName(name)
    if (!read) continue
    if (read.kind === 'continued') {
      const below = join(folder, name)
      for (const entry of await toEntries(below, await readdir(below), begun + read.encoded)) entries.push(entry)
      continue
    }
    const segment = decodeSegment(begun + read.encoded)
    if (segment === undefined) continue
    const isFolder = read.kind === 'folder'
    entries.push({ order: isFolder ? `${segment}/` : segment, isFolder })
  }
  return entries
}

/** The part of the cursor that matters in this folder: all before it, nothing of it, or what follows the folder's name. */
function cursorIn(base: string, cursor: string): string {
  return cursor.startsWith(base) ? cursor.slice(base.length) : ''
}

/** Index of the first entry that does not sort before `order`. */
function firstAt(entries: Entry[], order: string): number {
  let low = 0
  let high = entries.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareKeys(entries[middle]!.order, order) < 0) low = middle + 1
    else high = middle
  }
  return low
}
