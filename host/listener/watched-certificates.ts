/** Certificates that are read again when their files change. Whoever renews them writes files; nothing is restarted. */
import { stat } from 'node:fs/promises'
import type { Log } from '../log.ts'
import { type CertificateFiles, type Credential, readCertificates } from './certificates.ts'

/**
 * How often the files are looked at, ms. Looked at and not watched: renewal replaces links and folders (certbot,
 * Kubernetes), and on network file systems no event comes.
 */
const LOOK_MS = 2_000
/** A certificate that ends sooner than this is warned of when it is read. */
const SOON_MS = 7 * 86_400_000

export class WatchedCertificates {
  #files: CertificateFiles[]
  #credentials: Credential[]
  /** Of the files as they were read last, well or badly, and as they were seen at the last look. */
  #read: string
  #seen: string
  readonly #log: Log
  readonly #changed: (credentials: Credential[]) => void
  readonly #timer: NodeJS.Timeout
  #looking: Promise<void> = Promise.resolve()

  private constructor(
    files: CertificateFiles[],
    first: { credentials: Credential[]; print: string },
    log: Log,
    changed: (credentials: Credential[]) => void,
    lookMs: number,
  ) {
    this.#files = files
    this.#credentials = first.credentials
    this.#read = this.#seen = first.print
    this.#log = log
    this.#changed = changed
    this.#timer = setInterval(() => (this.#looking = this.#looking.then(() => this.#look())), lookMs).unref()
    this.#tell(first.credentials)
  }

  /** Rejects with `invalid_config` where one cannot be used. `changed` hears of each later set, all of it usable. */
  static async open(
    files: CertificateFiles[],
    log: Log,
    changed: (credentials: Credential[]) => void,
    lookMs = LOOK_MS,
  ): Promise<WatchedCertificates> {
    const print = await fingerprint(files)
    return new WatchedCertificates(files, { credentials: await readCertificates(files), print }, log, changed, lookMs)
  }

  get credentials(): Credential[] {
    return this.#credentials
  }

  /** Reads at once, other files where there are any. Rejects, and keeps what it has, where one cannot be used. */
  async reload(files: CertificateFiles[] = this.#files): Promise<void> {
    const print = await fingerprint(files)
    const credentials = await readCertificates(files)
    this.#files = files
    this.#read = this.#seen = print
    this.#take(credentials)
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.#looking
  }

  async #look(): Promise<void> {
    const files = this.#files
    const print = await fingerprint(files)
    // A certificate and its key are two files: what has changed since the last look may be half of a change.
    const settled = print === this.#seen
    this.#seen = print
    if (!settled || print === this.#read) return
    this.#read = print
    try {
      this.#take(await readCertificates(files))
    } catch (error) {
      this.#log.error({ err: error }, 'the certificates were not reloaded; the old ones stay')
    }
  }

  #take(credentials: Credential[]): void {
    const news = credentials.some(({ cert, key }, i) => cert !== this.#credentials[i]?.cert || key !== this.#credentials[i]?.key)
    const same = !news && credentials.length === this.#credentials.length
    this.#credentials = credentials
    if (same) return
    this.#tell(credentials)
    this.#changed(credentials)
  }

  #tell(credentials: Credential[]): void {
    for (const { file, names, expires } of credentials) {
      const facts = { file, names, expires: new Date(expires).toISOString() }
      if (expires - Date.now() < SOON_MS) this.#log.warn(facts, 'a certificate that is in use expires soon')
      else this.#log.info(facts, 'a certificate is in use')
    }
  }
}

/** Of what the files are at this moment, links followed. */
async function fingerprint(files: CertificateFiles[]): Promise<string> {
  const paths = files.flatMap(({ cert, key }) => [cert, key])
  const parts = paths.map(async (path) => {
    try {
      const { dev, ino, size, mtimeMs, ctimeMs } = await stat(path)
      return [path, dev, ino, size, mtimeMs, ctimeMs].join(' ')
    } catch (error) {
      return `${path} ${(error as NodeJS.ErrnoException).code}`
    }
  })
  return (await Promise.all(parts)).join('\n')
}
