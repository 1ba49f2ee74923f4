import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { SkepError } from '../errors.ts'
import { OWN_SEGMENT } from './_key.ts'
import type { S3Objects } from './_s3-objects.ts'

export interface LeaseTimes {
  /** A lease that nobody renewed for so long belongs to a dead writer. Two thirds of it must exceed a write's longest time. */
  ttlMs: number
  /** Longest time from reading a lease to having written it, and the wait before a new one counts. */
  settleMs: number
  /** Monotonic. */
  now(): number
  sleep(ms: number): Promise<void>
}

interface Lease {
  id: string
  host: string
  pid: number
  renewed: string
}

const KEY = `${OWN_SEGMENT}/writer`

/** S3 refuses signatures that are 15 minutes off, so two writers' clocks are at most half an hour apart. */
const SURELY_DEAD_MS = 60 * 60 * 1000

/**
 * The one writer's hold on a store whose server ignores conditions. Its times are chosen so that two writers never both
 * believe to hold it:
 *
 * - Who takes it reads, writes and waits `settleMs`, then reads again. A rival who read before that write has written
 *   within `settleMs`, or given up; so the second read shows the last of them, and all others see that it is not them.
 * - Who takes over has watched the lease stand unchanged for `ttlMs` on its own clock. A holder counts from before its
 *   last renewal, hence counts longer, and stops in time. No two clocks are compared.
 *
 * What is left: a holder frozen between its check and its request, and thawed after `ttlMs`. Nothing but the server's
 * conditional writes can stop that request.
 */
export class WriterLease {
  readonly #objects: S3Objects
  readonly #times: LeaseTimes
  readonly #id = randomUUID()
  /** When the last renewal began; undefined while not held. */
  #heldSince: number | undefined
  #rival: { etag: string; since: number } | undefined
  #timer: NodeJS.Timeout | undefined
  #last: Promise<unknown> = Promise.resolve()

  constructor(objects: S3Objects, times: LeaseTimes) {
    this.#objects = objects
    this.#times = times
  }

  /** Resolves while this writer holds the lease for another two thirds of `ttlMs`; `store_conflict` when another does. */
  ensure(): Promise<void> {
    const turn = this.#last.then(() => this.#ensure())
    this.#last = turn.catch(() => undefined)
    return turn
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.#last
    if (this.#heldSince === undefined || this.#age() > this.#times.ttlMs / 2) return
    const { lease } = await this.#read()
    if (lease?.id === this.#id) await this.#objects.delete(KEY)
    this.#heldSince = undefined
  }

  async #ensure(): Promise<void> {
    if (this.#age() < this.#times.ttlMs / 3) return
    if (this.#age() < this.#times.ttlMs && (await this.#renew())) return
    await this.#take()
  }

  /** False when it took so long that somebody may have begun to take over. */
  async #renew(): Promise<boolean> {
    const deadline = this.#heldSince! + this.#times.ttlMs
    const begun = this.#times.now()
    const { lease } = await this.#read()
    if (lease?.id !== this.#id) {
      this.#heldSince = undefined
      throw this.#conflict(lease)
    }
    await this.#write()
    const inTime = this.#times.now() < deadline
    this.#heldSince = inTime ? begun : undefined
    return inTime
  }

  async #take(): Promise<void> {
    this.#heldSince = undefined
    const begun = this.#times.now()
    const { lease, etag } = await this.#read()
    if (lease && lease.id !== this.#id && !this.#isDead(lease, etag)) throw this.#conflict(lease)
    await this.#write()
    if (this.#times.now() - begun > this.#times.settleMs) {
      throw new SkepError('store_unavailable', `${this.#objects.description} is too slow to settle who writes to it; try again.`)
    }
    await this.#times.sleep(this.#times.settleMs)
    const after = await this.#read()
    if (after.lease?.id !== this.#id) throw this.#conflict(after.lease)
    this.#heldSince = begun
    this.#rival = undefined
    // An idle holder stays the holder: the next deploy must not find that a second control API took its place.
    clearInterval(this.#timer)
    this.#timer = setInterval(() => this.#stay(), this.#times.ttlMs / 3).unref()
  }

  /** Who lost the lease does not fight for it while it has nothing to write. */
  #stay(): void {
    if (this.#heldSince !== undefined) void this.ensure().catch(() => undefined)
  }

  #isDead(lease: Lease, etag: string): boolean {
    if (Date.parse(lease.renewed) < Date.now() - SURELY_DEAD_MS) return true
    if (this.#rival?.etag !== etag) this.#rival = { etag, since: this.#times.now() }
    return this.#times.now() - this.#rival.since >= this.#times.ttlMs
  }

  async #read(): Promise<{ lease: Lease | undefined; etag: string }> {
    const object = await this.#objects.get(KEY)
    if (!object || object === 'unchanged') return { lease: undefined, etag: '' }
    try {
      return { lease: JSON.parse(Buffer.from(object.bytes).toString()) as Lease, etag: object.etag }
    } catch (error) {
      throw new SkepError(
        'store_corrupt',
        `"${KEY}" in ${this.#objects.description} is not JSON. Remove it when no skep writes there.`,
        {
          cause: error,
        },
      )
    }
  }

  async #write(): Promise<void> {
    const lease: Lease = { id: this.#id, host: hostname(), pid: process.pid, renewed: new Date().toISOString() }
    await this.#objects.put(KEY, Buffer.from(JSON.stringify(lease)))
  }

  #age(): number {
    return this.#heldSince === undefined ? Infinity : this.#times.now() - this.#heldSince
  }

  #conflict(lease: Lease | undefined): SkepError {
    const who = lease ? `process ${lease.pid} on ${lease.host} (renewed ${lease.renewed})` : 'another process'
    return new SkepError(
      'store_conflict',
      `${who} writes to ${this.#objects.description}, and its S3 server ignores conditional writes, so there can be only one writer. ` +
        `Send changes to that one, or stop it, or use a server with conditional writes (AWS, MinIO, Ceph, R2). ` +
        `If it is dead, its hold ends ${Math.ceil(this.#times.ttlMs / 1000)} s after this: try again then. Reading works meanwhile.`,
      { details: lease && { host: lease.host, pid: lease.pid, renewed: lease.renewed } },
    )
  }
}
