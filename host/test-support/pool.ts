import type { Limits } from '../../sandbox/limits.ts'
import { Call } from '../call.ts'
import { Pool } from '../pool.ts'
import type { PoolConduct, VersionRef } from '../pool.ts'
import { FakeClock, turn } from './clock.ts'
import { FakeExchange } from './exchange.ts'
import { FakeFactory, specOf } from './sandbox.ts'

export const version = (fn: string): VersionRef => ({ tenant: 'acme', function: fn, version: '1'.repeat(16) })

/** A pool with a fake of everything around it. */
export function openPool(
  options: {
    maxIsolates?: number
    maxMemory?: number
    idleMs?: number
    limits?: Partial<Limits>
    conduct?: PoolConduct
  } = {},
) {
  const clock = new FakeClock()
  const factory = new FakeFactory()
  const seen: string[] = []
  const finished: Call[] = []
  const source = { error: undefined as Error | undefined, loads: 0 }
  const pool = new Pool({
    factory,
    clock,
    ...(options.conduct === undefined ? {} : { conduct: options.conduct }),
    maxIsolates: options.maxIsolates ?? 10,
    maxMemory: options.maxMemory ?? 1e9,
    idleMs: options.idleMs ?? 60_000,
    async load(ref) {
      source.loads++
      if (source.error !== undefined) throw source.error
      return specOf(ref.function, options.limits)
    },
    observer: {
      coldStart: (ref) => seen.push(`started ${ref.function}`),
      evicted: (reason) => seen.push(`evicted ${reason}`),
      failed: (ref, failure) => seen.push(`failed ${ref.function} ${failure.code}`),
      notLoaded: (ref, error) => seen.push(`not loaded ${ref.function} ${error.code}`),
      log: (_, entry) => seen.push(`log ${entry.level} ${entry.text}`),
    },
  })
  let id = 0
  const createCall = (bodyLength = 0) => {
    const exchange = new FakeExchange(bodyLength)
    const call = new Call(exchange, `request-${++id}`, clock.now(), (done) => finished.push(done))
    exchange.observe(call)
    return { exchange, call }
  }
  /** A request to a function, as far as it gets without anybody's doing. */
  const run = async (fn = 'a', bodyLength = 0) => {
    const made = createCall(bodyLength)
    pool.run(version(fn), made.call)
    await turn()
    return made
  }
  return { clock, factory, pool, seen, finished, source, run, createCall }
}
