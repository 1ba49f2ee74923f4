import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { z } from 'zod'
import { systemClock } from './clock.ts'
import type { Clock } from './clock.ts'
import { OFFENCES } from './conduct.ts'
import type { ConductRecord } from './conduct.ts'
import type { ConductBook } from './conduct-book.ts'
import type { Log } from './log.ts'

/** Between a change and its being written, ms: a burst of changes is written once. */
const DELAY = 500

const time = z.number().min(0)
const record = z.object({
  name: z.string().max(200),
  version: z.string().max(100),
  state: z.enum(['probation', 'trusted', 'suspected', 'quarantined', 'half_open']),
  since: time,
  until: time,
  clean: z.number().min(0),
  level: z.int().min(0).max(1000),
  back: z.enum(['probation', 'trusted']),
  costly: z.boolean(),
  meanCpuMs: z.number(),
  offences: z.array(z.object({ kind: z.enum(OFFENCES), at: time, message: z.string() })).max(100),
  counts: z.partialRecord(z.enum(OFFENCES), z.number()),
}) satisfies z.ZodType<ConductRecord>
const file = z.object({ records: z.array(record) })

/** What was remembered at the last end. A damaged file is put aside: a host that starts without its memory still serves. */
export async function readConduct(path: string, log: Log): Promise<ConductRecord[]> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
      log.warn({ file: path, err: error }, 'the record of conduct cannot be read')
    return []
  }
  try {
    return file.parse(JSON.parse(text)).records
  } catch (error) {
    const aside = `${path}.damaged`
    log.warn(
      { file: path, aside, reason: (error as Error).message.slice(0, 300) },
      'the record of conduct is damaged and was put aside',
    )
    await rename(path, aside).catch((cause: unknown) => log.warn({ err: cause }, 'it could not be put aside'))
    return []
  }
}

/** Keeps a book on disk: written a moment after a state has changed, whole or not at all. */
export class ConductFile {
  readonly #path: string
  readonly #book: ConductBook
  readonly #log: Log
  readonly #clock: Clock
  #timer: object | undefined
  #writing: Promise<void> = Promise.resolve()
  #failed = false

  constructor(path: string, book: ConductBook, log: Log, clock: Clock = systemClock) {
    this.#path = path
    this.#book = book
    this.#log = log
    this.#clock = clock
    book.watch(() => this.#soon())
  }

  /** Writes what has changed since, and resolves when it is on disk. */
  async close(): Promise<void> {
    if (this.#timer !== undefined) this.#write()
    await this.#writing
  }

  #soon(): void {
    this.#timer ??= this.#clock.setTimeout(() => this.#write(), DELAY)
    ;(this.#timer as Partial<NodeJS.Timeout>).unref?.()
  }

  #write(): void {
    this.#clock.clearTimeout(this.#timer)
    this.#timer = undefined
    const records = this.#book.records().filter(({ version }) => version !== '')
    const text = JSON.stringify({ records })
    this.#writing = this.#writing
      .then(() => replaceFile(this.#path, text))
      .then(
        () => {
          this.#failed = false
        },
        (error: unknown) => {
          // A full disk must not fill the log too.
          if (!this.#failed) this.#log.warn({ file: this.#path, err: error }, 'the record of conduct could not be written')
          this.#failed = true
        },
      )
  }
}

async function replaceFile(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  const temporary = `${path}.${process.pid}`
  const handle = await open(temporary, 'w', 0o600)
  try {
    await handle.writeFile(text)
    await handle.datasync()
  } finally {
    await handle.close()
  }
  await rename(temporary, path)
}
