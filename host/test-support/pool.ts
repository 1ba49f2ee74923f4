import type { Limits } from '../../sandbox/limits.ts'
import { Admission } from '../admission.ts'
import { Call } from '../call.ts'
import { configSchema } from '../config.ts'
import type { ConfigInput } from '../config.ts'
import { Pool } from '../pool.ts'
import type { PoolConduct, VersionRef } from '../pool.ts'
import { Usage } from '../usage.ts'
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
    config?: Pick<ConfigInput, 'admission' | 'tenants'>
  } = {},
) {
  const clock = new FakeClock()
  const factory = new FakeFactory()
  const seen: string[] = []
  const finished: Call[] = []
  const source = { error: undefined as Error | undefined, loads: 0 }
  const usage = new Usage()
  const waits: number[] = []
  const config = configSchema.parse(options.config ?? {})
  const admission = new Admission({ config, usage, cores: 2, waited: (ms) => waits.push(ms) })
  const pool = new Pool({
    factory,
    clock,
    ...(options.conduct === undefined ? {} : { conduct: options.conduct }),
    admission,
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
    const call = new Call(exchange, `request-${++id}`, clock.now(), (done) => {
      if (done.event === 0) admission.left(done)
      finished.push(done)
    })
    exchange.observe(call)
    return { exchange, call }
  }
  /** A request to a function of a tenant, as a host takes it in. */
  const enter = (tenant: string, fn = 'a') => {
    const made = createCall()
    if (admission.enter(made.call, usage.of(tenant, fn))) pool.run({ ...version(fn), tenant }, made.call)
    return made
  }
  /** A request to a function, as far as it gets without anybody's doing. */
  const run = async (fn = 'a', bodyLength = 0) => {
    const made = createCall(bodyLength)
    pool.run(version(fn), made.call)
    await turn()
    return made
  }
  return { clock, factory, pool, seen, finished, source, run, createCall, enter, admission, usage, waits }
}
