import { EventEmitter } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join } from 'node:path'
import { encodeBundle } from '../bundler/artifact.ts'
import { bundle } from '../bundler/bundle.ts'
import { createInlineFactory } from '../sandbox/inline.ts'
import type { SandboxFactory, Taint } from '../sandbox/sandbox.ts'
import { z } from 'zod'
import { answerError } from './answer.ts'
import { checkBundle } from './check.ts'
import { ConductBook } from './conduct-book.ts'
import { ConductFile, readConduct } from './conduct-file.ts'
import { registerConduct } from './conduct-metrics.ts'
import { SkepError } from './errors.ts'
import { kernelBound, memoryBounds } from './guard.ts'
import { HostCore } from './host.ts'
import type { HostEvents } from './host.ts'
import { listen } from './listener/choose.ts'
import type { Listener } from './listener/listener.ts'
import { nodeExchange } from './listener/node.ts'
import { ceilingsOf, configSchema } from './config.ts'
import type { Config, ConfigInput } from './config.ts'
import { checkCeilings } from './limit-schemas.ts'
import type { VersionLimits } from './limit-schemas.ts'
import { createLog, silentLog } from './log.ts'
import type { Log } from './log.ts'
import { MemoryGroups } from './memory-cgroup.ts'
import { Counters } from './metrics.ts'
import { PlacedFactory } from './placed-factory.ts'
import { checkHostname, checkName, versionSettings } from './records.ts'
import { Registry } from './registry.ts'
import { openStore } from './store/open.ts'
import type { Store } from './store/store.ts'
import { WebExchange } from './web-exchange.ts'

/** What only `skep serve` has: ports, processes that listen. */
type ServeSetting = 'port' | 'api' | 'workers' | 'address' | 'tls'
const hostOptions = configSchema.omit({ port: true, api: true, workers: true, address: true, tls: true })

/** The host's settings of contract and configuration file; all optional. `placement` defaults to `cell` here, `guard.cgroup` to `off`. */
export interface HostOptions extends Omit<ConfigInput, 'log' | ServeSetting> {
  /** A pino logger, or a level; default: silent. Listen to `log` events for functions' own lines. */
  log?: Log | { level: 'debug' | 'info' | 'warn' | 'error' }
}

export interface DeployOptions {
  /** The entry file, bundled with what it imports. */
  main?: string
  /** Or the module's text. */
  code?: string
  /** Folder that `code` imports from; without it, it can import nothing. */
  resolveDir?: string
  hosts?: string[]
  vars?: Record<string, string>
  limits?: VersionLimits
  nodejs?: boolean
  tag?: string
  /** Default `default`. */
  tenant?: string
}

/** The same, checked: a key that nobody knows is an error and not a wish. */
const deployOptions = versionSettings.extend({
  main: z.string().optional(),
  code: z.string().optional(),
  resolveDir: z.string().optional(),
  hosts: z.array(z.string()).default([]),
  nodejs: z.boolean().default(false),
  tenant: z.string().default('default'),
})

/**
 * A host inside this process: router and pool, its isolates in child processes unless `placement` is `inline`.
 * Throws `invalid_config` for options that it does not know, and `missing_flag` for `inline` without its Node flag.
 */
export async function createHost(options: HostOptions = {}): Promise<Host> {
  const { log: logOption, ...input } = options
  const config = checkOptions({ placement: 'cell', ...input })
  const log = await chooseLog(logOption)
  const inline =
    config.placement === 'inline' ? { inline: await embedInline(config, log, (taint) => factory.tainted(taint)) } : {}
  // Last, so that nothing stays open when another part is refused.
  const store = await openStore(config.store ?? `file:${join(config.data, 'store')}`, { s3: config.s3 })
  const keeps = keepsConduct(config)
  const file = join(config.data, 'conduct.json')
  const book = new ConductBook(config, { records: keeps ? await readConduct(file, log) : [] })
  const memory = memoryBounds({ guard: config.guard, workers: 1 })
  // Unasked, a library does not move the process that embeds it.
  const groups = input.guard?.cgroup === 'auto' ? MemoryGroups.open(kernelBound(config, memory.hard), { log }) : undefined
  const factory = new PlacedFactory({
    placement: config.placement,
    egress: config.egress,
    log,
    conduct: book,
    memory,
    groups,
    ...inline,
  })
  const counters = new Counters()
  registerConduct(counters.registry, book)
  const core = new HostCore({ config, store, factory, conduct: book, log, counters })
  book.watch(({ standing }, record) => {
    if (standing.state === 'quarantined' && record.until > Date.now()) core.noteQuarantine(record)
  })
  const keeper = keeps ? new ConductFile(file, book, log) : undefined
  return new Host(config, store, factory, core, counters, book, keeper)
}

/** An embedding service that says where things last gets a record that lasts, and no folder that it did not ask for. */
function keepsConduct(config: Config): boolean {
  return config.store === undefined
}

function embedInline(config: Config, log: Log, tainted: (taint: Taint) => void): Promise<SandboxFactory> {
  return createInlineFactory({
    egress: config.egress,
    tainted: (taint) => {
      tainted(taint)
      log.fatal({ taint }, TAINTED)
    },
  })
}

const TAINTED =
  'an isolate of this process was lost for ever; finish what is in flight and replace the process (with placement cell, skep does)'

export class Host extends EventEmitter<HostEvents> implements AsyncDisposable {
  readonly #config: Config
  readonly #store: Store
  readonly #factory: PlacedFactory
  readonly #core: HostCore
  readonly #counters: Counters
  readonly #registry: Registry
  readonly #listeners: Listener[] = []
  readonly #book: ConductBook
  readonly #keeper: ConductFile | undefined
  #closing: Promise<void> | undefined

  /** Made by `createHost`. */
  constructor(
    config: Config,
    store: Store,
    factory: PlacedFactory,
    core: HostCore,
    counters: Counters,
    book: ConductBook,
    keeper: ConductFile | undefined,
  ) {
    super()
    this.#book = book
    this.#keeper = keeper
    this.#config = config
    this.#store = store
    this.#factory = factory
    this.#core = core
    this.#counters = counters
    this.#registry = new Registry(store, (notice) => core.notice(notice))
    core.on('log', (entry) => this.emit('log', entry))
    core.on('isolate', (change) => this.emit('isolate', change))
  }

  /**
   * Bundles, checks and activates a function, and routes its hostnames. Rejects with `bundle_failed`, `bundle_too_large`,
   * `start_failed`, `invalid_name`, `invalid_hostname`, `route_conflict` or a store's error; what answered before then
   * still does.
   */
  async deploy(name: string, options: DeployOptions): Promise<{ version: string; urls: string[] }> {
    const { main, code, hosts, tenant, settings } = this.#checkDeploy(name, options)
    // All that can be refused is refused before anything is changed.
    for (const host of hosts) await this.#registry.checkRoute(host, tenant)
    const source =
      main === undefined
        ? { code: code!, ...(options.resolveDir === undefined ? {} : { resolveDir: options.resolveDir }) }
        : { main }
    const built = await bundle(source, { nodejs: options.nodejs ?? false, maxBytes: this.#config.limits.bundleBytes })
    const bytes = encodeBundle(built.bundle)
    const report = await checkBundle(this.#factory, bytes, settings, { tenant, function: name, config: this.#config })
    const version = await this.#registry.addVersion(tenant, name, { bytes, settings, report, by: 'library' })
    await this.#registry.deploy(tenant, name, { versions: [{ id: version.id, percent: 100 }], by: 'library' })
    for (const host of hosts) await this.#registry.addRoute(host, tenant, name)
    return { version: version.id, urls: hosts.map((host) => `http://${host}/`) }
  }

  #checkDeploy(name: string, options: DeployOptions) {
    const parsed = deployOptions.safeParse(options)
    if (!parsed.success) throw new SkepError('invalid_request', `deploy(): ${problemsOf(parsed.error)}`)
    const { main, code, hosts, tenant, vars, limits, tag } = parsed.data
    if ((main === undefined) === (code === undefined)) {
      throw new SkepError('invalid_request', 'deploy() takes either main (a file) or code (a text).')
    }
    checkName('tenant', tenant)
    checkName('function', name)
    checkCeilings(limits, ceilingsOf(this.#config, tenant))
    return { main, code, hosts: hosts.map(checkHostname), tenant, settings: { vars, limits, tag } }
  }

  /** Runs a request by its URL's hostname. Rejects when the request is none, or its signal aborts it, and else never. */
  async fetch(request: Request | string | URL, init?: RequestInit): Promise<Response> {
    const whole = request instanceof Request && init === undefined ? request : new Request(request, init)
    whole.signal.throwIfAborted()
    const exchange = new WebExchange(whole)
    this.#core.handle(exchange)
    return exchange.response
  }

  /** Answers a request of a node:http server. */
  handleNode(req: IncomingMessage, res: ServerResponse): void {
    const exchange = nodeExchange(req, res)
    if (exchange === undefined) return
    if (exchange.bodyLength !== 0 && req.readableEnded) {
      // Waiting for a body that somebody else has read would never end.
      process.emitWarning(
        'The body of a request was read before skep saw it. Mount toNodeHandler() before body parsers such as express.json().',
      )
      answerError(exchange, 'internal', '')
      return
    }
    this.#core.handle(exchange)
  }

  /** Listens; port 0 takes a free one. Rejects with `port_in_use`. */
  async listen(options: { port: number; address?: string }): Promise<{ port: number }> {
    const { listener } = await listen({
      address: '127.0.0.1',
      ...options,
      kind: this.#config.listener,
      limits: this.#config.clients,
      handler: (exchange) => this.#core.handle(exchange),
    })
    this.#listeners.push(listener)
    return { port: listener.port }
  }

  /** Prometheus' text format. */
  async metrics(): Promise<string> {
    this.#counters.isolates(this.#core.stats())
    this.#counters.cells(this.#factory.counts())
    return this.#counters.registry.metrics()
  }

  /** How functions behaved that are watched or in quarantine: what they did, and when they may come back. */
  get conduct(): Pick<ConductBook, 'records' | 'recordsOf' | 'release'> {
    return this.#book
  }

  /** Versions, deployments and routes. */
  get registry(): Registry {
    return this.#registry
  }

  /** Lets what is in flight finish, then ends isolates and processes. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    await Promise.all(this.#listeners.map((listener) => listener.close(this.#config.drainMs)))
    await this.#core.close()
    await this.#keeper?.close()
    await this.#store.close()
  }
}

/** A request listener for node:http, Express and Fastify (`fastify.all('/*', (req, reply) => { reply.hijack(); handler(req.raw, reply.raw) })`). */
export function toNodeHandler(host: Host): (req: IncomingMessage, res: ServerResponse) => void {
  return (req, res) => host.handleNode(req, res)
}

function checkOptions(options: ConfigInput): Config {
  const parsed = hostOptions.safeParse(options)
  if (parsed.success) return configSchema.parse(options)
  throw new SkepError('invalid_config', `createHost(): ${problemsOf(parsed.error)}`)
}

function problemsOf(error: z.ZodError): string {
  return error.issues
    .map((issue) => (issue.path.length === 0 ? issue.message : `${issue.path.join('.')}: ${issue.message}`))
    .join('; ')
}

async function chooseLog(option: HostOptions['log']): Promise<Log> {
  if (option === undefined) return silentLog()
  return 'info' in option ? option : createLog({ level: option.level })
}
