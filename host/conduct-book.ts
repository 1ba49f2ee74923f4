import { LRUCache } from 'lru-cache'
import type { Conduct, ConductChange, ConductRecord, ConductState, OffenceReport, Refusal } from './conduct.ts'
import { secondsUntil, versionKey } from './conduct.ts'
import { SkepError } from './errors.ts'
import type { Standing } from './placement.ts'

export interface ConductSettings {
  /** Clean events and age after which a new version is trusted; both 0: there is no probation. */
  probation: { events: number; seconds: number }
  /** How long a quarantine lasts the first time, doubled each time, and at most. */
  quarantine: { seconds: number; mostSeconds: number }
}

/** Versions that are remembered; the longest unused are forgotten first, those in quarantine last. */
const MOST_RECORDS = 10_000
const MOST_OFFENCES = 8
/** Clean events after which a suspect is none any more. */
const SUSPECT_EVENTS = 20
/** Isolates that a function may lose to its own limits in a row, and how many more each second. */
const BURST = 20
const PER_SECOND = 1
/** A mean CPU time of an event at which a function counts as costly, and at which it does not any more, ms. */
const COSTLY_MS = 10
const CHEAP_MS = 5
/** After a try that nobody has told the end of, another one may be made, ms. */
const PROBE_PATIENCE = 60_000
/** New versions of a function in quarantine that are tried without waiting, in an hour. */
const FRESH_TRIES = 3
const HOUR = 3_600_000
/** A process killed from outside is a coincidence once. */
const COINCIDENCE = 600_000

/**
 * The record of conduct: who may be loaded, and how closely it is watched. One for a whole host. It has no timers: time
 * is read when somebody asks.
 */
export class ConductBook implements Conduct {
  #settings: ConductSettings
  readonly #now: () => number
  readonly #records = new LRUCache<string, ConductRecord>({ max: 2 * MOST_RECORDS })
  readonly #buckets = new LRUCache<string, { tokens: number; at: number }>({ max: MOST_RECORDS })
  readonly #fresh = new LRUCache<string, { tries: number; since: number }>({ max: MOST_RECORDS })
  readonly #listeners: ((change: ConductChange, record: ConductRecord) => void)[] = []
  /** Versions by function. */
  readonly #versions = new Map<string, Set<string>>()
  /** Offences by kind, since the start. */
  readonly offences = new Map<string, number>()

  constructor(settings: ConductSettings, options: { now?: () => number; records?: ConductRecord[] } = {}) {
    this.#settings = settings
    this.#now = options.now ?? Date.now
    for (const record of options.records ?? []) this.#keep({ ...record })
  }

  set settings(settings: ConductSettings) {
    this.#settings = settings
  }

  standing(name: string, version: string): Standing {
    const record = this.#records.get(versionKey(name, version))
    return record ?? { state: this.#firstState(version), costly: false }
  }

  refusal(name: string, version: string): Refusal | undefined {
    const record = this.#records.get(versionKey(name, version))
    if (record === undefined) return undefined
    const now = this.#now()
    if (record.state === 'quarantined' && this.#untilOf(record) > now)
      return { seconds: secondsUntil(this.#untilOf(record), now) }
    record.since = Math.min(record.since, now)
    if (record.state === 'half_open' && record.since + PROBE_PATIENCE > now) return { seconds: 1 }
    return undefined
  }

  async admit(name: string, version: string): Promise<void> {
    const refusal = this.ask(name, version)
    if (refusal === undefined) return
    throw quarantined(name, refusal)
  }

  /** `admit`, for one who asks from another process. A version that nobody has asked for before gets its record. */
  ask(name: string, version: string): Refusal | undefined {
    const known = this.#records.get(versionKey(name, version))
    if (known === undefined) return this.#askNew(name, version)
    const refusal = this.refusal(name, version)
    if (refusal !== undefined) return refusal
    // Checks of uploads run no events by which one could clear itself.
    if (version === '' && this.#now() - known.since > HOUR) this.#enter(known, 'probation')
    if (known.state === 'quarantined' || known.state === 'half_open') this.#enter(known, 'half_open')
    return undefined
  }

  /** A mended version should not have to wait for the broken one's end; nor may uploads be a way around it. */
  #askNew(name: string, version: string): Refusal | undefined {
    const worst = this.#worstOf(name)
    const record = this.#create(name, version)
    if (version === '' || worst === undefined) return undefined
    record.level = worst.level
    const now = this.#now()
    const fresh = this.#fresh.get(name)
    const tries = fresh === undefined || now - fresh.since > HOUR ? { tries: 0, since: now } : fresh
    this.#fresh.set(name, tries)
    if (++tries.tries <= FRESH_TRIES) {
      this.#enter(record, 'half_open')
      return undefined
    }
    record.until = Math.max(worst.until, now + this.#pauseOf(record.level))
    this.#enter(record, 'quarantined')
    return { seconds: secondsUntil(record.until, now) }
  }

  /** In one process it is whoever loads it now: nobody else was admitted. */
  isProbe(name: string, version: string): boolean {
    return this.#records.get(versionKey(name, version))?.state === 'half_open'
  }

  ran(name: string, version: string, clean: number, cpuMs: number): void {
    if (version === '') return
    const record = this.#records.get(versionKey(name, version)) ?? this.#create(name, version)
    record.clean += clean
    if (clean > 0) this.#weigh(record, clean, cpuMs)
    if (clean === 0) return
    if (record.state === 'half_open') {
      record.back = 'probation'
      this.#enter(record, 'suspected')
    } else if (record.state === 'suspected' && record.clean >= SUSPECT_EVENTS) {
      this.#enter(record, this.#hasProbation ? record.back : 'trusted')
    } else if (record.state === 'probation' && this.#isProven(record)) {
      this.#enter(record, 'trusted')
    }
  }

  offence(name: string, version: string, { kind, message, alone, killed = false }: OffenceReport): void {
    const record = this.#records.get(versionKey(name, version)) ?? this.#create(name, version)
    // A lost isolate is also one over its limits: the same deed is not told twice.
    if (record.state === 'quarantined' && (kind === 'cpu_exceeded' || kind === 'memory_exceeded')) return
    const now = this.#now()
    const earlier = record.offences.findLast((offence) => offence.kind === kind)
    record.offences = [...record.offences, { kind, at: now, message }].slice(-MOST_OFFENCES)
    record.counts[kind] = (record.counts[kind] ?? 0) + 1
    this.offences.set(kind, (this.offences.get(kind) ?? 0) + 1)
    if (record.state === 'quarantined') return
    if (record.state === 'half_open') {
      this.#quarantine(record)
      return
    }
    switch (kind) {
      case 'cpu_exceeded':
      case 'memory_exceeded':
        if (!this.#forgives(versionKey(name, version), now)) this.#quarantine(record)
        return
      case 'process_lost':
        if (alone && (!killed || (earlier !== undefined && now - earlier.at < COINCIDENCE))) this.#quarantine(record)
        else this.#suspect(record)
        return
      default:
        this.#quarantine(record)
    }
  }

  abandoned(name: string, version: string): void {
    const record = this.#records.get(versionKey(name, version))
    if (record?.state !== 'half_open') return
    record.until = this.#now()
    this.#enter(record, 'quarantined')
  }

  /** An operator takes it upon himself: its next event is a try. False when none of its versions is in quarantine. */
  release(name: string): boolean {
    let released = false
    for (const record of this.recordsOf(name)) {
      if (record.state !== 'quarantined' && record.state !== 'half_open') continue
      record.level = 0
      record.until = this.#now()
      this.#enter(record, 'quarantined')
      released = true
    }
    this.#fresh.delete(name)
    return released
  }

  watch(listener: (change: ConductChange, record: ConductRecord) => void): void {
    this.#listeners.push(listener)
  }

  /** Every record, for the file; or those of a function. */
  records(): ConductRecord[] {
    return [...this.#records.values()].reverse()
  }

  recordsOf(name: string): ConductRecord[] {
    const records = [...(this.#versions.get(name) ?? [])].map((version) => this.#records.peek(versionKey(name, version)))
    return records.filter((record) => record !== undefined)
  }

  /** The function is gone. */
  forget(name: string): void {
    for (const { version } of this.recordsOf(name)) this.#records.delete(versionKey(name, version))
    this.#versions.delete(name)
  }

  countOf(state: ConductState): number {
    let count = 0
    for (const record of this.#records.values()) if (record.state === state) count++
    return count
  }

  get #hasProbation(): boolean {
    const { events, seconds } = this.#settings.probation
    return events > 0 || seconds > 0
  }

  #firstState(version: string): ConductState {
    return this.#hasProbation || version === '' ? 'probation' : 'trusted'
  }

  #isProven(record: ConductRecord): boolean {
    const { events, seconds } = this.#settings.probation
    return record.clean >= events && this.#now() - record.since >= seconds * 1000
  }

  #weigh(record: ConductRecord, events: number, cpuMs: number): void {
    const weight = Math.min(1, events / 50)
    const mean = cpuMs / events
    record.meanCpuMs = record.meanCpuMs < 0 ? mean : record.meanCpuMs * (1 - weight) + mean * weight
    const costly = record.meanCpuMs > (record.costly ? CHEAP_MS : COSTLY_MS)
    if (costly === record.costly || record.clean < SUSPECT_EVENTS) return
    record.costly = costly
    this.#tell(record)
  }

  /** A token bucket: an isolate that ends now and then is its own trouble, one after the other is everybody's. */
  #forgives(key: string, now: number): boolean {
    const bucket = this.#buckets.get(key) ?? { tokens: BURST, at: now }
    bucket.tokens = Math.min(BURST, bucket.tokens + (Math.max(0, now - bucket.at) / 1000) * PER_SECOND) - 1
    bucket.at = now
    this.#buckets.set(key, bucket)
    return bucket.tokens >= 0
  }

  #suspect(record: ConductRecord): void {
    if (record.state !== 'suspected') record.back = record.state === 'trusted' ? 'trusted' : 'probation'
    this.#enter(record, 'suspected')
  }

  #quarantine(record: ConductRecord): void {
    record.level++
    // A check of an upload is no function that could be kept from answering: it is done alone.
    if (record.version === '') {
      this.#suspect(record)
      return
    }
    record.until = this.#now() + this.#pauseOf(record.level)
    this.#buckets.delete(versionKey(record.name, record.version))
    this.#enter(record, 'quarantined')
  }

  #pauseOf(level: number): number {
    const { seconds, mostSeconds } = this.#settings.quarantine
    return 1000 * Math.min(mostSeconds, seconds * 2 ** Math.max(0, level - 1))
  }

  /** The machine's clock may have been set back since: nobody waits longer than what was imposed. */
  #untilOf(record: ConductRecord): number {
    record.until = Math.min(record.until, this.#now() + this.#pauseOf(Math.max(1, record.level)))
    return record.until
  }

  #worstOf(name: string): ConductRecord | undefined {
    const held = this.recordsOf(name).filter(({ state }) => state === 'quarantined' || state === 'half_open')
    return held.toSorted((one, other) => other.level - one.level)[0]
  }

  #create(name: string, version: string): ConductRecord {
    const record: ConductRecord = {
      ...{ name, version, state: this.#firstState(version), since: this.#now(), until: 0, clean: 0, level: 0 },
      ...{ back: 'probation', costly: false, meanCpuMs: -1, offences: [], counts: {} },
    }
    this.#keep(record)
    return record
  }

  #keep(record: ConductRecord): void {
    const { name, version } = record
    this.#records.set(versionKey(name, version), record)
    let versions = this.#versions.get(name)
    if (versions === undefined) this.#versions.set(name, (versions = new Set()))
    versions.add(version)
    if (this.#records.size <= MOST_RECORDS) return
    // From the longest unused on: one that may not answer must not be forgotten because others answered since.
    for (const old of this.#records.rvalues() as Generator<ConductRecord>) {
      if (this.#records.size < 1.5 * MOST_RECORDS && (old.state === 'quarantined' || old.state === 'half_open')) continue
      this.#records.delete(versionKey(old.name, old.version))
      const left = this.#versions.get(old.name)
      left?.delete(old.version)
      if (left?.size === 0) this.#versions.delete(old.name)
      return
    }
  }

  #enter(record: ConductRecord, state: ConductState): void {
    record.state = state
    record.since = this.#now()
    record.clean = 0
    if (state === 'trusted') record.level = 0
    if (state !== 'quarantined') record.until = 0
    this.#tell(record)
  }

  #tell(record: ConductRecord): void {
    const change = changeOf(record)
    for (const listener of this.#listeners) listener(change, record)
  }
}

export function changeOf({ name, version, state, costly, until }: ConductRecord): ConductChange {
  return { name, version, standing: { state, costly }, until }
}

export function quarantined(name: string, { seconds }: Refusal): SkepError {
  const message = `${name} is in quarantine for ${seconds} s more. \`skep quarantine list\` says why, \`skep quarantine release\` ends it.`
  return new SkepError('quarantined', message, { details: { retryAfter: seconds } })
}
