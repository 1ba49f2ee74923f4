import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { encodeBundle, hashBytes } from '../../bundler/artifact.ts'
import { configSchema } from '../../host/config.ts'
import { HostCore } from '../../host/host.ts'
import { silentLog } from '../../host/log.ts'
import { Counters } from '../../host/metrics.ts'
import { encodeRecord } from '../../host/records.ts'
import type { Store, StoredObject } from '../../host/store/store.ts'
import { WebExchange } from '../../host/web-exchange.ts'
import { createInlineFactory } from '../../sandbox/inline.ts'
import { handler } from '../sandbox/probe.ts'
import type { Cycler } from './cycles.ts'

/** So many functions take turns; each time that one's turn comes it has a new version. */
const FUNCTIONS = 200
const BUNDLE = encodeBundle({
  code: handler(`return new Response(env.WORD + ' ' + await request.text())`),
  async: false,
  modules: {},
  sourceMap: '',
  nodejs: false,
})
const CREATED = new Date(0).toISOString()

/** A store with every function there might be, made up as it is asked: what it holds does not grow. */
class EndlessStore implements Store {
  readonly description = 'endless:'
  /** How often each function has been deployed. */
  readonly rounds: number[] = Array.from({ length: FUNCTIONS }, () => 0)

  async get(key: string): Promise<StoredObject | undefined> {
    const bytes = this.#make(key)
    return bytes === undefined ? undefined : { bytes, etag: createHash('sha256').update(bytes).digest('hex') }
  }

  #make(key: string): Uint8Array | undefined {
    const route = /^routes\/f(\d+)\.test$/.exec(key)
    if (route) return encodeRecord({ tenant: 'acme', function: `f${route[1]}`, createdAt: CREATED })
    if (key.startsWith('bundles/')) return BUNDLE
    const [, fn, version] = /^tenants\/acme\/(?:functions|versions)\/f(\d+)(?:\/([0-9a-f]{16}))?$/.exec(key) ?? []
    if (fn === undefined) return undefined
    if (version === undefined) {
      const versions = [{ id: this.versionOf(Number(fn)), percent: 100 }]
      const deployment = { id: this.rounds[Number(fn)]! + 1, versions, createdAt: CREATED, by: 'test' }
      return encodeRecord({ tenant: 'acme', name: `f${fn}`, createdAt: CREATED, deployment, history: [] })
    }
    const settings = { vars: { WORD: version }, limits: {}, tag: '' }
    const about = { handlers: ['fetch'], startCpuMs: 1, createdAt: CREATED, by: 'test' }
    return encodeRecord({ id: version, bundle: hashBytes(BUNDLE), size: BUNDLE.length, settings, ...about })
  }

  versionOf(fn: number): string {
    return (fn * 1_000_000 + this.rounds[fn]!).toString(16).padStart(16, '0')
  }

  put = () => Promise.reject(new Error('Nothing is written here'))
  delete = () => Promise.reject(new Error('Nothing is deleted here'))
  list = async () => ({ keys: [], cursor: undefined })
  async close(): Promise<void> {}
}

export async function throughHost(): Promise<Cycler> {
  const config = configSchema.parse({ limits: { cpuMs: 5_000, startMs: 5_000 }, pool: { maxIsolates: 2 } })
  const factory = await createInlineFactory({ egress: config.egress, tainted: (taint) => assert.fail(JSON.stringify(taint)) })
  const store = new EndlessStore()
  const core = new HostCore({ config, store, factory, log: silentLog(), counters: new Counters() })
  return {
    async cycle(index) {
      const fn = index % FUNCTIONS
      store.rounds[fn]!++
      core.notice({ type: 'function', tenant: 'acme', function: `f${fn}` })
      const exchange = new WebExchange(new Request(`http://f${fn}.test/`, { method: 'POST', body: String(index) }))
      core.handle(exchange)
      const response = await exchange.response
      assert.equal(response.headers.get('skep-error'), null)
      assert.equal(await response.text(), `${store.versionOf(fn)} ${index}`)
    },
    async close() {
      await core.close(1_000)
      await factory.close()
    },
  }
}
