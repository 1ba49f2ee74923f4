import { createHash, randomUUID } from 'node:crypto'
import { access, constants, mkdir, open, readdir, readFile, rename, rmdir, stat, unlink } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { SkepError } from '../errors.ts'
import { errnoOf, fileError } from './_file-errors.ts'
import { FileList } from './_file-list.ts'
import { FileLock } from './_file-lock.ts'
import { keyToPath } from './_file-names.ts'
import { assertKey, assertPrefix, pageLimit } from './_key.ts'
import type { Store, StoredObject, StorePage, WriteCondition } from './store.ts'

export interface FileStoreOptions {
  /** How long a write waits for another process's before it is `store_unavailable`. */
  lockTimeoutMs?: number
}

/** Older temporary files belong to no write under way. */
const TEMPORARY_AGE_MS = 60 * 60 * 1000

/**
 * A store in a folder, for one machine: `objects/` holds the objects, `tmp/` what is being written, `lock` makes one
 * writer wait for another. Opens for reading alone where the folder cannot be written.
 */
export async function openFileStore(dir: string, options: FileStoreOptions = {}): Promise<Store> {
  const root = resolve(dir)
  const objects = join(root, 'objects')
  try {
    await mkdir(objects, { recursive: true })
    await mkdir(join(root, 'tmp'), { recursive: true })
    await syncFolder(root)
  } catch (error) {
    await access(objects, constants.R_OK).catch(() => {
      throw fileError(error, 'open the store in', root)
    })
  }
  await sweep(join(root, 'tmp'))
  return new FileStore(root, options)
}

class FileStore implements Store {
  readonly description: string
  readonly #objects: string
  readonly #temporary: string
  readonly #lock: FileLock
  readonly #list: FileList

  constructor(root: string, options: FileStoreOptions) {
    this.description = `file:${root}`
    this.#objects = join(root, 'objects')
    this.#temporary = join(root, 'tmp')
    this.#lock = new FileLock(join(root, 'lock'), options.lockTimeoutMs ?? 10_000)
    this.#list = new FileList(this.#objects)
  }

  async get(key: string, options: { ifNoneMatch?: string } = {}): Promise<StoredObject | 'unchanged' | undefined> {
    assertKey(key)
    const bytes = await this.#read(key)
    if (!bytes) return undefined
    const etag = hash(bytes)
    return etag === options.ifNoneMatch ? 'unchanged' : { bytes, etag }
  }

  async put(key: string, bytes: Uint8Array, condition: WriteCondition = {}): Promise<string> {
    assertKey(key)
    const path = this.#path(key)
    const temporary = join(this.#temporary, `${process.pid}-${randomUUID()}`)
    try {
      await writeDurably(temporary, bytes)
      await this.#lock.run(async () => {
        await this.#check(key, condition)
        await mkdir(dirname(path), { recursive: true })
        await rename(temporary, path)
      })
      await this.#syncFoldersOf(path)
    } catch (error) {
      await unlink(temporary).catch(() => undefined)
      throw fileError(error, 'write', path)
    }
    return hash(bytes)
  }

  async delete(key: string, condition: { ifMatch?: string } = {}): Promise<void> {
    assertKey(key)
    const path = this.#path(key)
    try {
      await this.#lock.run(async () => {
        await this.#check(key, condition)
        await unlink(path)
        // Under the lock: no writer is between making a folder and renaming into it.
        await this.#removeEmptyFoldersOf(path)
      })
      await this.#syncFoldersOf(path)
    } catch (error) {
      if (isAbsence(error)) return this.#assertMounted()
      throw fileError(error, 'delete', path)
    }
  }

  async list(prefix: string, page: { cursor?: string; limit?: number } = {}): Promise<StorePage> {
    assertPrefix(prefix)
    const limit = pageLimit(page.limit)
    const keys = await this.#list.page(prefix, page.cursor ?? '', limit + 1)
    if (keys.length === 0) await this.#assertMounted()
    if (keys.length <= limit) {
      // The last page: a million names would stay in memory for nobody.
      this.#list.forget()
      return { keys, cursor: undefined }
    }
    keys.pop()
    return { keys, cursor: keys.at(-1) }
  }

  async close(): Promise<void> {
    this.#list.forget()
    await this.#lock.close()
  }

  #path(key: string): string {
    return join(this.#objects, keyToPath(key))
  }

  async #read(key: string): Promise<Buffer | undefined> {
    const path = this.#path(key)
    try {
      return await readFile(path)
    } catch (error) {
      if (!isAbsence(error)) throw fileError(error, 'read', path)
      await this.#assertMounted()
      return undefined
    }
  }

  /** An unmounted volume looks like an empty store, and an empty store answers 404 to every tenant's visitors. */
  async #assertMounted(): Promise<void> {
    await stat(this.#objects).catch((error) => {
      throw fileError(error, 'find', this.#objects)
    })
  }

  async #check(key: string, condition: WriteCondition): Promise<void> {
    if (condition.ifMatch === undefined && !condition.ifAbsent) return
    const bytes = await this.#read(key)
    const etag = bytes && hash(bytes)
    if (condition.ifAbsent && etag !== undefined) throw new SkepError('precondition_failed', `"${key}" exists already.`)
    if (condition.ifMatch !== undefined && condition.ifMatch !== etag) {
      throw new SkepError(
        'precondition_failed',
        `"${key}" ${etag === undefined ? 'is gone' : 'has been changed'} since it was read.`,
      )
    }
  }

  /**
   * A name is lasting once its folder is on the disk, and that folder's name in its parent, up to the top. Another
   * process may have made any of them a moment ago and not have got to its own fsync, so all are synced.
   */
  async #syncFoldersOf(path: string): Promise<void> {
    for (let folder = dirname(path); folder.length >= this.#objects.length; folder = dirname(folder)) {
      await syncFolder(folder).catch((error) => {
        // Removed as empty, by this delete or, after this write, by another's.
        if (errnoOf(error) !== 'ENOENT') throw error
      })
    }
  }

  async #removeEmptyFoldersOf(path: string): Promise<void> {
    for (let folder = dirname(path); folder.length > this.#objects.length; folder = dirname(folder)) {
      try {
        await rmdir(folder)
      } catch {
        // Not empty: the parents are not either. Anything else leaves an empty folder, which harms nobody.
        return
      }
    }
  }
}

function hash(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

function isAbsence(error: unknown): boolean {
  const errno = errnoOf(error)
  return errno === 'ENOENT' || errno === 'ENOTDIR'
}

async function writeDurably(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, 'wx', 0o640)
  try {
    await file.writeFile(bytes)
    await file.sync()
  } finally {
    await file.close()
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** Leftovers of killed writers. Only old ones: another process may be writing now. */
async function sweep(folder: string): Promise<void> {
  const names = await readdir(folder).catch(() => [])
  for (const name of names) {
    const path = join(folder, name)
    const entry = await stat(path).catch(() => undefined)
    if (entry?.isFile() && entry.mtimeMs < Date.now() - TEMPORARY_AGE_MS) await unlink(path).catch(() => undefined)
  }
}
