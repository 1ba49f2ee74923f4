import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Admission } from '../../host/admission.ts'
import { Call } from '../../host/call.ts'
import { systemClock } from '../../host/clock.ts'
import { configSchema } from '../../host/config.ts'
import { Pool } from '../../host/pool.ts'
import { specOf } from '../../host/test-support/sandbox.ts'
import { Usage } from '../../host/usage.ts'
import { checkBatch } from '../../sandbox/emissions.ts'
import { EnforcedLimits } from '../../sandbox/enforced-limits.ts'
import { Engine } from '../../sandbox/engine.ts'
import type { EngineIsolate, IsolateOptions } from '../../sandbox/engine.ts'
import { IsolateSandbox } from '../../sandbox/isolate.ts'
import type { IsolateContext } from '../../sandbox/isolate.ts'
import { Lanes } from '../../sandbox/lanes.ts'
import { Network } from '../../sandbox/operations/network.ts'
import type { Sandbox } from '../../sandbox/sandbox.ts'
import { Stretch } from '../../sandbox/stretch.ts'
import type { Target } from './protocol.ts'
import { Random } from './random.ts'
import { StrictExchange } from './strict-exchange.ts'

const VERSION = { tenant: 'acme', function: 'fuzzed', version: '1'.repeat(16) }
const LIMITS = { concurrency: 20, wallMs: 20_000, cpuMs: 5_000, memoryMb: 64, logBytes: 10_000, timers: 100 }
/** Requests at once, and what each makes the guest emit. */
const AT_ONCE = 8
const EMITTED = 250

/** Real isolates whose prelude is hostile: what isolated-vm makes of strange values on their way out, and the host of that. */
export const fuzzIsolate: Target = async ({ batches, seed }) => {
  const random = new Random(seed)
  const fuzz = new IsolateFuzz(
    new Engine({ code: await readFile(join(import.meta.dirname, 'hostile-prelude.js'), 'utf8'), filename: 'hostile-prelude.js' }),
  )
  while (fuzz.batches < batches && fuzz.problem === '') {
    const kind = random.chance(0.2) ? 'wild' : 'tame'
    await fuzz.requests(Array.from({ length: AT_ONCE }, () => `http://a.test/${kind}/${random.int(2 ** 32)}/${EMITTED}`))
  }
  await fuzz.close()
  return { batches: fuzz.batches, failure: fuzz.problem === '' ? '' : `isolate, seed ${seed}: ${fuzz.problem}` }
}

class IsolateFuzz {
  batches = 0
  problem = ''
  #hasMalformed = false
  #last = 0
  readonly #pool: Pool
  readonly #live = new Set<Sandbox>()

  constructor(engine: Engine) {
    const context: IsolateContext = {
      engine: { createIsolate: (options: IsolateOptions) => this.#watch(engine.createIsolate(options)) },
      network: new Network({ allow: [], deny: [] }),
      lanes: new Lanes(2),
      tainted: ({ message }) => this.#wrong(`an isolate was lost: ${message}`),
      createLimits: (limits) => new EnforcedLimits(limits, new Stretch(() => 0)),
      live: this.#live,
    }
    const config = configSchema.parse({})
    this.#pool = new Pool({
      factory: {
        placement: 'inline',
        create: (spec, observer) => new IsolateSandbox(context, spec, observer),
        close: async () => {},
      },
      admission: new Admission({ config, usage: new Usage(), cores: 2, waited() {} }),
      maxIsolates: 3,
      maxMemory: 1e9,
      idleMs: 1e9,
      load: async () => specOf('fuzzed', LIMITS),
      observer: {
        coldStart() {},
        evicted() {},
        failed: (_, { code, message }) => {
          if (code !== 'bad_guest' || !this.#hasMalformed) this.#wrong(`a sandbox ended: ${code} ${message}`)
        },
        notLoaded: (_, error) => this.#wrong(`not loaded: ${error.message}`),
        log() {},
      },
    })
  }

  /** Sends them together, and waits until each has had its one answer. */
  async requests(urls: string[]): Promise<void> {
    this.#hasMalformed = false
    const finished = new Map<Call, number>()
    const { promise, resolve } = Promise.withResolvers<void>()
    const exchanges = urls.map((url) => {
      const tag = `request-${++this.#last}`
      const exchange = new StrictExchange(tag, 'GET', url, 0)
      const call = new Call(exchange, tag, systemClock.now(), (done) => {
        finished.set(done, (finished.get(done) ?? 0) + 1)
        if (finished.size === urls.length) resolve()
      })
      exchange.observe(call)
      this.#pool.run(VERSION, call)
      return exchange
    })
    await promise
    // What is still under way out of the isolate may answer a second time.
    await new Promise((done) => setImmediate(done))
    for (const [index, exchange] of exchanges.entries()) {
      const { url, code, problem, tag } = exchange
      if (problem !== '') this.#wrong(`${url}: ${problem}`)
      if (code === 'internal') this.#wrong(`${url}: ${tag} was answered internal`)
      if ([...finished.values()][index] !== 1) this.#wrong(`${url}: ${tag} was finished more than once`)
    }
  }

  async close(): Promise<void> {
    await this.#pool.close(1_000)
    for (const sandbox of this.#live) sandbox.dispose()
  }

  #watch(isolate: EngineIsolate): EngineIsolate {
    const connect = isolate.connect.bind(isolate)
    isolate.connect = (emit, options) =>
      connect((batch) => {
        this.batches++
        try {
          if (checkBatch(batch) !== '') this.#hasMalformed = true
          emit(batch)
        } catch (error) {
          this.#wrong(`thrown: ${(error as Error).stack}`)
        }
      }, options)
    return isolate
  }

  #wrong(what: string): void {
    if (this.problem === '') this.problem = what
  }
}
