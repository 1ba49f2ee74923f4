import { join } from 'node:path'
import { checkBundle } from '../host/check.ts'
import { ConductBook } from '../host/conduct-book.ts'
import { ConductFile, readConduct } from '../host/conduct-file.ts'
import { registerConduct } from '../host/conduct-metrics.ts'
import { ceilingsOf, hostEgress, tenantSettings } from '../host/config.ts'
import type { Config } from '../host/config.ts'
import { kernelBound, memoryBounds } from '../host/guard.ts'
import { HostCore } from '../host/host.ts'
import { createLog } from '../host/log.ts'
import type { Credential } from '../host/listener/certificates.ts'
import { WatchedCertificates } from '../host/listener/watched-certificates.ts'
import type { Log } from '../host/log.ts'
import { MemoryGroups } from '../host/memory-cgroup.ts'
import { Counters } from '../host/metrics.ts'
import { PlacedFactory } from '../host/placed-factory.ts'
import { stricter } from '../host/placement.ts'
import { Registry } from '../host/registry.ts'
import { openStore } from '../host/store/open.ts'
import { Supervisor } from '../host/supervisor.ts'
import { mergeUsage } from '../host/usage.ts'
import { WebExchange } from '../host/web-exchange.ts'
import { createApi } from './app.ts'
import { serveApi } from './serve-api.ts'
import { adminTokenFile, ensureAdminToken } from './tokens.ts'

/** Settings that a running host cannot take over; a reload that changes one says so. */
const FIXED = ['port', 'address', 'api', 'data', 'store', 's3'] as const satisfies (keyof Config)[]

export interface Served {
  dataPort: number
  /** Where there are certificates. */
  tlsPort: number | undefined
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
  const conductFile = join(config.data, 'conduct.json')
  const book = new ConductBook(config, { records: await readConduct(conductFile, log) })
  const renewed = (credentials: Credential[]) => supervisor.renew(credentials)
  const certificates = await WatchedCertificates.open(config.tls.certificates, log, renewed)
  const memory = memoryBounds(config)
  // Before there are children: it may have to move, and moves alone.
  const groups = config.guard.cgroup === 'auto' ? MemoryGroups.open(kernelBound(config, memory.hard), { log }) : undefined
  const supervisor = await Supervisor.start(config, log, book, { credentials: certificates.credentials, groups })
  const keeper = new ConductFile(conductFile, book, log)
  const registry = new Registry(store, (notice) => {
    supervisor.notice(notice)
    core.notice(notice)
  })
  // Uploads are checked, and single events run, in cells of this process: no listener, no tenant code beside the supervisor.
  const factory = new PlacedFactory({
    ...{
      placement: stricter(config.placement, 'cell'),
      egress: hostEgress(config, supervisor.port, supervisor.tlsPort),
      log,
      conduct: book,
      memory,
      groups,
    },
  })
  const counters = new Counters()
  registerConduct(counters.registry, book)
  const core = new HostCore({ config, store, factory, conduct: book, log, counters })
  book.watch(({ standing }, record) => {
    if (standing.state === 'quarantined' && record.until > Date.now()) core.noteQuarantine(record)
  })
  let draining = false
  const api = createApi({
    registry,
    store,
    log,
    limits: config.limits,
    ceilings: (tenant) => ceilingsOf(config, tenant),
    conduct: book,
    check: (bundle, settings, name) => {
      supervisor.warm(tenantSettings(config, name.tenant).cordon)
      return checkBundle(factory, bundle, settings, { ...name, config })
    },
    invoke: (tenant, fn, request, version) => {
      const exchange = new WebExchange(request)
      void core.invoke(tenant, fn, exchange, version)
      return exchange.response
    },
    status: async () => {
      const { workers } = await supervisor.metrics()
      return { dataPort: supervisor.port, store: store.description, draining, pids: supervisor.pids, workers }
    },
    metrics: async () => {
      counters.cells(factory.counts())
      return (await supervisor.metrics([counters.registry])).text
    },
    usage: async (tenant) => mergeUsage([...(await supervisor.usage(tenant)), ...counters.usage.report(tenant)]),
    ready: () => !draining && supervisor.pids.length > 0,
  })
  const abandon = async (error: unknown) => {
    await Promise.all([supervisor.close(), factory.close(), store.close(), certificates.close()])
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
      await keeper.close()
      await store.close()
      await certificates.close()
      log.info('drained')
    })()
    return closing
  }
  const closed = untilSignalled(log, close, async () => {
    if (options.reload === undefined) return
    const next = await options.reload()
    // Before anything is taken over: a certificate that cannot be used is a mistake as any other.
    if (supervisor.tlsPort !== undefined && next.tls.certificates.length > 0) await certificates.reload(next.tls.certificates)
    config = await reloadConfig(config, next, log)
    book.settings = config
    await supervisor.reload(config)
    log.info('configuration reloaded')
  })
  log.info(
    {
      dataPort: supervisor.port,
      tlsPort: supervisor.tlsPort,
      apiPort: server.port,
      store: store.description,
      placement: config.placement,
    },
    'serving',
  )
  if (admin !== undefined) log.info({ file: adminTokenFile(config.data) }, 'an admin token was made; its text is in that file')
  return { dataPort: supervisor.port, tlsPort: supervisor.tlsPort, apiPort: server.port, token: admin?.text, closed, close }
}

async function reloadConfig(before: Config, after: Config, log: Log): Promise<Config> {
  const kept: string[] = FIXED.filter((key) => JSON.stringify(before[key]) !== JSON.stringify(after[key]))
  // The port, and whether there is one at all.
  const served = ({ tls }: Config) => tls.certificates.length > 0 && tls.port
  const tls = served(before) === served(after) ? after.tls : before.tls
  if (tls === before.tls) kept.push('tls')
  if (before.guard.cgroup !== after.guard.cgroup) kept.push('guard.cgroup')
  const guard = { ...after.guard, cgroup: before.guard.cgroup }
  if (kept.length > 0) log.warn({ settings: kept }, 'these settings take effect only after a restart')
  log.level = after.log.level
  return { ...after, tls, guard, ...Object.fromEntries(FIXED.map((key) => [key, before[key]])) }
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
