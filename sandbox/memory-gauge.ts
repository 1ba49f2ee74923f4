import type { MemoryVerdict } from './limit-enforcer.ts'

const MEGABYTE = 1_048_576

/** Above its limit a function is retired, above this many times its limit it is ended. */
const HARD = 1.25

/**
 * What V8 gets beyond that, at least, MB. Its own limit is for what one entry can do before the memory is read again: at
 * 50 ms of CPU time the fastest allocators reach 120 to 390 MB from nothing.
 */
const HEADROOM_LEAST = 256

/**
 * And as a part of the limit. A Map at its limit doubles its table before it throws the old one away; V8 that has no room
 * for the new one does not throw, it loses the isolate.
 */
const HEADROOM_PART = 2

/** Growth that is always reckoned with, bytes for each ms of CPU time: as fast as memory can be taken and written to. */
const GROWTH = 8 * MEGABYTE

/** Between two readings: CPU time at least, ms, as one takes some 3 µs; wall time at most, ms, so that figures are fresh. */
const LEAST_CPU = 0.3
const MOST_WALL = 100

/** A collection is followed by a pause of so many times its length, unless the hard limit is passed. */
const COLLECTION_PAUSE = 10

/** V8's own limit for a function with this one, MB. */
export function heapMbFor(memoryMb: number): number {
  return Math.ceil(memoryMb * HARD + Math.max(HEADROOM_LEAST, memoryMb * HEADROOM_PART))
}

/**
 * Memory of one isolate against its limits. Readings come seldom while it is far from its limit and often when it is
 * near. A reading counts garbage, so one above the limit asks for a collection first: what is left after that is in use.
 */
export class MemoryGauge {
  readonly #soft: number
  readonly #hard: number
  /** The last reading. */
  bytes = 0
  #readAt = -Infinity
  #cpuAt = 0
  #pauseCpu = LEAST_CPU
  /** Growth that is reckoned with: what was seen last, as buffers that nobody writes to are made in no time. */
  #growth = GROWTH
  #collectingSince = 0
  #noCollectionBefore = -Infinity
  #retired = false

  constructor(memoryMb: number) {
    this.#soft = memoryMb * MEGABYTE
    this.#hard = this.#soft * HARD
  }

  wantsReading(now: number, cpuMs: number): boolean {
    return cpuMs - this.#cpuAt >= this.#pauseCpu || now - this.#readAt >= MOST_WALL
  }

  /** The verdict, or `over` where the hard limit is passed for good. */
  read(bytes: number, now: number, cpuMs: number, collected: boolean): Exclude<MemoryVerdict, object> | 'over' {
    const seen = (bytes - this.bytes) / Math.max(LEAST_CPU, cpuMs - this.#cpuAt)
    this.#growth = Math.max(GROWTH, seen, this.#growth / 2)
    this.bytes = bytes
    this.#readAt = now
    this.#cpuAt = cpuMs
    this.#pauseCpu = Math.max(LEAST_CPU, (this.#soft - bytes) / this.#growth)
    if (collected) this.#noCollectionBefore = now + COLLECTION_PAUSE * (now - this.#collectingSince)
    // What is over in a retired isolate is known; only the hard limit can still be passed.
    const most = this.#retired ? this.#hard : this.#soft
    if (bytes <= most) return 'fine'
    if (!collected) {
      if (bytes <= this.#hard && now < this.#noCollectionBefore) return 'fine'
      this.#collectingSince = now
      return 'collect'
    }
    if (bytes > this.#hard) return 'over'
    this.#retired = true
    return 'retire'
  }
}
