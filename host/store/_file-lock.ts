import { setTimeout as sleep } from 'node:timers/promises'
import { DatabaseSync } from 'node:sqlite'
import { SkepError } from '../errors.ts'

/**
 * One writer at a time, among all processes that share the folder.
 *
 * Node has no flock. A lock file made with O_EXCL outlives a killed holder, and whoever removes a stale one may remove
 * the next holder's. SQLite takes the kernel's own lock on an (always empty) file, which the kernel gives back when the
 * holder dies, however it dies. It also knows of the trap in POSIX locks, that closing any descriptor of a file drops
 * the process's locks on it: nothing but SQLite may open this file.
 *
 * A stopped holder (SIGSTOP) keeps it: the others fail with `store_unavailable` after `timeoutMs`.
 */
export class FileLock {
  readonly #path: string
  readonly #timeoutMs: number
  #database: DatabaseSync | undefined
  #last: Promise<unknown> = Promise.resolve()

  constructor(path: string, timeoutMs: number) {
    this.#path = path
    this.#timeoutMs = timeoutMs
  }

  /** Runs `work` while no other holder does, in the order of the calls. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(() => this.#hold(work))
    this.#last = turn.catch(() => undefined)
    return turn
  }

  async #hold<T>(work: () => Promise<T>): Promise<T> {
    const database = await this.#lock()
    try {
      return await work()
    } finally {
      database.exec('ROLLBACK')
    }
  }

  async #lock(): Promise<DatabaseSync> {
    const deadline = performance.now() + this.#timeoutMs
    while (true) {
      try {
        this.#database ??= new DatabaseSync(this.#path, { timeout: 0 })
        this.#database.exec('BEGIN EXCLUSIVE')
        return this.#database
      } catch (error) {
        if (!isBusy(error)) {
          throw new SkepError(
            'store_unavailable',
            `Cannot lock ${this.#path}: ${(error as Error).message}. The store's folder must be writable, on a file system with POSIX locks.`,
            { cause: error },
          )
        }
        if (performance.now() > deadline) {
          throw new SkepError(
            'store_unavailable',
            `Another process has held ${this.#path} for more than ${this.#timeoutMs} ms. It may be stopped: "fuser ${this.#path}" names it.`,
            { cause: error },
          )
        }
      }
      // SQLite's own waiting would block the event loop, and every tenant with it.
      await sleep(1 + Math.random() * 4)
    }
  }

  async close(): Promise<void> {
    await this.#last
    this.#database?.close()
    this.#database = undefined
  }
}

/** SQLITE_BUSY is 5; its extended codes keep it in the low byte. */
function isBusy(error: unknown): boolean {
  return ((error as { errcode?: number }).errcode ?? 0) % 256 === 5
}
