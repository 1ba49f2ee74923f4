import { LRUCache } from 'lru-cache'
import type { Conduct, ConductChange, OffenceReport, Refusal } from './conduct.ts'
import { secondsUntil, versionKey } from './conduct.ts'
import { quarantined } from './conduct-book.ts'
import type { Standing } from './placement.ts'

/** What a worker says to the keeper of the book. */
export type ConductMessage =
  | { type: 'ran'; reports: { name: string; version: string; clean: number; cpuMs: number }[] }
  | { type: 'offence'; name: string; version: string; report: OffenceReport }
  | { type: 'abandoned'; name: string; version: string }
  /** May this version be loaded? Answered by `admitted` of the same id. */
  | { type: 'ask'; id: number; name: string; version: string }

/** And what it is told. */
export type ConductAnswer =
  | { type: 'standing'; changes: ConductChange[] }
  | { type: 'admitted'; id: number; change: ConductChange; refusal: Refusal | undefined }

interface Known {
  standing: Standing
  until: number
  /** When the keeper said so. */
  heardAt: number
  /** It was given to this process to be tried. */
  probe: boolean
}

/** One that was forgotten is asked for again. */
const MOST_KNOWN = 20_000
/** Between an event that ended well and the report of it, ms. */
const REPORT_EVERY = 100
/** Until the keeper's word comes: what an offence like this is followed by at least, ms. */
const AT_ONCE = 5_000
/** An asker waits so long for the keeper, ms, and goes on as with a version that nobody knows. */
const PATIENCE = 5_000
/** A quarantine is believed so long, ms, and then asked for again: somebody may have set the machine's clock. */
const BELIEVED = 10_000

/** A worker's copy of the supervisor's record of conduct. */
export class ConductMirror implements Conduct {
  readonly #send: (message: ConductMessage) => void
  readonly #now: () => number
  readonly #known = new LRUCache<string, Known>({ max: MOST_KNOWN })
  readonly #asking = new Map<number, (refusal: Refusal | undefined) => void>()
  readonly #listeners: ((change: ConductChange) => void)[] = []
  readonly #ran = new Map<string, { name: string; version: string; clean: number; cpuMs: number }>()
  #timer: NodeJS.Timeout | undefined
  #lastId = 0

  constructor(send: (message: ConductMessage) => void, now: () => number = Date.now) {
    this.#send = send
    this.#now = now
  }

  receive(message: ConductAnswer): void {
    if (message.type === 'standing') {
      for (const change of message.changes) this.#apply(change, false)
      return
    }
    const answer = this.#asking.get(message.id)
    if (answer === undefined) {
      // It gave up waiting, and nobody tries what it was given.
      if (message.change.standing.state === 'half_open' && message.refusal === undefined)
        this.abandoned(message.change.name, message.change.version)
      return
    }
    this.#apply(message.change, message.refusal === undefined && message.change.standing.state === 'half_open')
    answer(message.refusal)
  }

  standing(name: string, version: string): Standing {
    return this.#known.get(versionKey(name, version))?.standing ?? { state: 'probation', costly: false }
  }

  refusal(name: string, version: string): Refusal | undefined {
    const known = this.#known.get(versionKey(name, version))
    if (known === undefined) return undefined
    const now = this.#now()
    const isNews = Math.abs(now - known.heardAt) < BELIEVED
    if (known.standing.state === 'quarantined' && isNews && known.until > now) return { seconds: secondsUntil(known.until, now) }
    return known.standing.state === 'half_open' && known.probe ? { seconds: 1 } : undefined
  }

  async admit(name: string, version: string): Promise<void> {
    const known = this.#known.get(versionKey(name, version))
    const state = known?.standing.state
    if (state === 'trusted' || state === 'probation' || state === 'suspected') return
    const id = ++this.#lastId
    const refusal = await new Promise<Refusal | undefined>((resolve) => {
      const timer = setTimeout(resolve, PATIENCE, state === undefined ? undefined : { seconds: 1 })
      this.#asking.set(id, (answer) => {
        clearTimeout(timer)
        resolve(answer)
      })
      this.#send({ type: 'ask', id, name, version })
    })
    this.#asking.delete(id)
    if (refusal !== undefined) throw quarantined(name, refusal)
  }

  isProbe(name: string, version: string): boolean {
    const known = this.#known.get(versionKey(name, version))
    return known !== undefined && known.probe && known.standing.state === 'half_open'
  }

  ran(name: string, version: string, clean: number, cpuMs: number): void {
    const key = versionKey(name, version)
    const report = this.#ran.get(key)
    if (report === undefined) this.#ran.set(key, { name, version, clean, cpuMs })
    else {
      report.clean += clean
      report.cpuMs += cpuMs
    }
    // Others wait for what becomes of a try.
    if (this.isProbe(name, version)) this.#flush()
    else this.#timer ??= setTimeout(() => this.#flush(), REPORT_EVERY).unref()
  }

  offence(name: string, version: string, report: OffenceReport): void {
    if (version !== '' && (report.kind === 'unstoppable' || report.kind === 'catastrophic')) {
      // Not one more event of it in this process, also while the word of the supervisor is on its way.
      const until = this.#now() + AT_ONCE
      this.#apply({ name, version, standing: { ...this.standing(name, version), state: 'quarantined' }, until }, false)
    }
    this.#send({ type: 'offence', name, version, report })
  }

  abandoned(name: string, version: string): void {
    this.#send({ type: 'abandoned', name, version })
  }

  watch(listener: (change: ConductChange) => void): void {
    this.#listeners.push(listener)
  }

  #apply(change: ConductChange, probe: boolean): void {
    const key = versionKey(change.name, change.version)
    const before = this.#known.get(key)
    const isProbe = probe || (before?.probe === true && change.standing.state === 'half_open')
    this.#known.set(key, { standing: change.standing, until: change.until, probe: isProbe, heardAt: this.#now() })
    for (const listener of this.#listeners) listener(change)
  }

  #flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const reports = [...this.#ran.values()]
    this.#ran.clear()
    if (reports.length > 0) this.#send({ type: 'ran', reports })
  }
}
