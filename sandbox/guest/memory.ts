import { arrayPush, objectSetPrototypeOf, uncurryThis } from './primordials.ts'

/**
 * What the function holds that V8 counts for no limit: memories and code of WebAssembly, and resizable buffers. Each is
 * known by a weak reference, so that what is garbage stops counting once V8 has collected it; where that decides, V8 is
 * made to collect.
 */
interface Holding {
  ref: WeakRef<object>
  /** As last measured. */
  bytes: number
  /** What it has now: wasm code grows a memory without asking anybody. Null where that does not change. */
  measure: ((holding: object) => number) | null
}

/** Each reserves some ten gigabytes of addresses, of 128 terabytes that the process has. */
const MOST_MEMORIES = 64

/** ms */
const INTERVAL = 50

const WeakReference = WeakRef
const deref = uncurryThis(WeakRef.prototype.deref as (this: WeakRef<object>) => object | undefined)
const Buffer = ArrayBuffer

let limit = 0
let holdings: Holding[] = []
let memories = 0
/** Of what is being made: tenant code runs while a module is instantiated. */
let reserved = 0
/** By which memories were grown since they were measured. */
let grown = 0
let measuredAt = 0
let reportBytes: (bytes: number) => void = () => {}

export function setMemoryLimit(bytes: number, report: (bytes: number) => void): void {
  limit = bytes
  reportBytes = report
}

export const memoryLimit = (): number => limit

/** Makes something of so many bytes, and holds it to account. Throws a RangeError where there is no room for it. */
export function accounted<T extends object>(bytes: number, what: string, make: () => T, measure: Holding['measure'] = null): T {
  requireRoom(bytes, measure === null ? 0 : 1, what)
  reserved += bytes
  try {
    const made = make()
    account(made, bytes, measure)
    return made
  } finally {
    reserved -= bytes
  }
}

/** Something exists that has so many bytes. */
export function account(made: object, bytes: number, measure: Holding['measure'] = null): void {
  arrayPush(holdings, { ref: new WeakReference(made), bytes, measure })
  if (measure !== null) memories++
  reportBytes(held())
}

/** A memory has been grown by a call. */
export function noteGrowth(bytes: number): void {
  grown += bytes
  reportBytes(held())
}

/** Once in a while, after an entry: an instruction may have grown a memory, and the host is to know. */
export function measureAt(now: number): void {
  if (memories === 0 || now - measuredAt < INTERVAL) return
  measuredAt = now
  measureHoldings()
}

/** Throws a RangeError unless there is room for as much more. */
export function requireRoom(bytes: number, more: number, what: string): void {
  if (hasRoom(bytes, more)) return
  collect()
  measureHoldings()
  if (!hasRoom(bytes, more)) throw new RangeError(`${what}: out of memory, ${limit} bytes are all that this function may have`)
}

function hasRoom(bytes: number, more: number): boolean {
  return memories + more <= MOST_MEMORIES && held() + bytes <= limit
}

function held(): number {
  let bytes = reserved + grown
  for (let i = 0; i < holdings.length; i++) bytes += holdings[i]!.bytes
  return bytes
}

/** Forgets what is gone, and asks the rest. What this looks at stays alive until the current run of microtasks ends. */
function measureHoldings(): void {
  if (holdings.length === 0) return
  // No prototype: nothing of the tenant's is between an index and its element.
  const kept = objectSetPrototypeOf([], null) as Holding[]
  memories = 0
  grown = 0
  for (let i = 0; i < holdings.length; i++) {
    const holding = holdings[i]!
    const target = deref(holding.ref)
    if (target === undefined) continue
    if (holding.measure !== null) {
      memories++
      holding.bytes = holding.measure(target)
    }
    kept[kept.length] = holding
  }
  holdings = kept
  reportBytes(held())
}

/** isolated-vm's allocator has V8 collect all garbage before it refuses a buffer, and this one it does refuse. */
function collect(): void {
  try {
    void new Buffer(2 ** 40)
  } catch {
    // As it should.
  }
}
