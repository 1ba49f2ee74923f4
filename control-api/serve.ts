import { CellFactory } from '../host/cell.ts'
import { checkBundle } from '../host/check.ts'
import { ceilingsOf } from '../host/config.ts'
import type { Config } from '../host/config.ts'
import { HostCore } from '../host/host.ts'
import { createLog } from '../host/log.ts'
import type { Log } from '../host/log.ts'
import { Counters } from '../host/metrics.ts'
import { Registry } from '../host/registry.ts'
import { openStore } from '../host/store/open.ts'
import { Supervisor } from '../host/supervisor.ts'
import { WebExchange } from '../host/web-exchange.ts'
import { createApi } from './app.ts'
import { serveApi } from './serve-api.ts'
import { adminTokenFile, ensureAdminToken } from './tokens.ts'

/** Settings that a running host cannot take over; a reload that changes one says so. */
const FIXED = ['port', 'address', 'api', 'data', 'store', 's3'] as const satisfies (keyof Config)[]

export interface Served {
  dataPort: number
  apiPort: number
  /** The admin token, when this start made it. */
  token: string | undefined
  /** Ends once the host has drained. */
  closed: Promise<void>
  close(): Promise<void>
}

/**
 * Host and control API in one: this process supervises the workers and answers the API. SIGTERM and SIGINT drain, a
 * second one ends at once; SIGHUP reads the configuration again (on a terminal, whose end it tells, it drains). Rejects with a coded error when it cannot serve.
 */
export async function serve(options: { config: Config; reload?: () => Promise<Config> }): Promise<Served> {
  let { config } = options
  const log = await createLog({ level: config.log.level })
  const store = await openStore(config.store ?? `file:${config.data}/store`, { s3: config.s3 })
  // Asked first: a store that does not answer is better known before anything listens.
  await store.list('tokens/', { limit: 1 })
  const supervisor = await Supervisor.start(config, log)
  const registry = new Registry(store, (notice) => {
    supervisor.notice(notice)
    core.notice(notice)
  })
  // Uploads are checked, and single events run, in cells of this process: no listener, no tenant code beside the supervisor.
  const factory = new CellFactory({ egress: config.egress, log })
  const counters = new Counters()
  const core = new HostCore({ config, store, factory, log, counters })
  let draining = false
  const api = createApi({
    registry,
    store,
    log,
    limits: config.limits,
    ceilings: (tenant) => ceilingsOf(config, tenant),
    check: (bundle, settings, name) => checkBundle(factory, bundle, settings, { ...name, config }),
    invoke: (tenant, fn, request, version) => {
      const exchange = new WebExchange(request)
      void core.invoke(tenant, fn, exchange, version)
      return exchange.response
    },
    status: async () => {
      const { workers } = await supervisor.metrics()
      return { dataPort: supervisor.port, store: store.description, draining, pids: supervisor.pids, workers }
    },
    metrics: async () => (await supervisor.metrics([counters.registry])).text,
    ready: () => !draining && supervisor.pids.length > 0,
  })
  const abandon = async (error: unknown) => {
    await Promise.all([supervisor.close(), factory.close(), store.close()])
    throw error
  }
  const server = await serveApi(api, config.api).catch(abandon)
  // Last, so that a start that fails does not make a token that nobody is shown.
  const admin = await ensureAdminToken(store, config.data).catch(async (error: unknown) => {
    await server.close()
    return abandon(error)
  })

  let closing: Promise<void> | undefined
  const close = () => {
    closing ??= (async () => {
      draining = true
      log.info('draining: no new connections, requests in flight finish')
      await supervisor.close()
      await server.close()
      await core.close()
      await store.close()
      log.info('drained')
    })()
    return closing
  }
  const closed = untilSignalled(log, close, async () => {
    if (options.reload === undefined) return
    config = await reloadConfig(config, await options.reload(), log)
    await supervisor.reload(config)
    log.info('configuration reloaded')
  })
  log.info({ dataPort: supervisor.port, apiPort: server.port, store: store.description, placement: config.placement }, 'serving')
  if (admin !== undefined) log.info({ file: adminTokenFile(config.data) }, 'an admin token was made; its text is in that file')
  return { dataPort: supervisor.port, apiPort: server.port, token: admin?.text, closed, close }
}

async function reloadConfig(before: Config, after: Config, log: Log): Promise<Config> {
  const kept = FIXED.filter((key) => JSON.stringify(before[key]) !== JSON.stringify(after[key]))
  if (kept.length > 0) log.warn({ settings: kept }, 'these settings take effect only after a restart')
  log.level = after.log.level
  return { ...after, ...Object.fromEntries(FIXED.map((key) => [key, before[key]])) }
}

/** Settles once a signal has made the host close. */
function untilSignalled(log: Log, close: () => Promise<void>, reload: () => Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    let asked = false
    const stop = () => {
      // Somebody who asks twice does not want to wait. Workers and cells end with this process.
      if (asked) process.exit(1)
      asked = true
      close().then(resolve, reject)
    }
    process.on('SIGTERM', stop)
    process.on('SIGINT', stop)
    let reloading = Promise.resolve()
    process.on('SIGHUP', () => {
      // From a terminal it means that the terminal was closed.
      if (process.stdout.isTTY) return stop()
      reloading = reloading
        .then(reload)
        .catch((error: unknown) => log.error({ err: error }, 'the configuration was not reloaded; the old one stays'))
    })
  })
}
