import { createHash } from 'node:crypto'
import type { z } from 'zod'
import { hashBytes } from '../bundler/artifact.ts'
import type { StartReport } from '../sandbox/sandbox.ts'
import { SkepError } from './errors.ts'
import {
  checkHostname,
  checkName,
  decodeRecord,
  deploymentRecord,
  encodeRecord,
  functionRecord,
  HISTORY,
  keys,
  routeRecord,
  versionRecord,
  wildcardsOf,
} from './records.ts'
import type { DeploymentRecord, FunctionRecord, RouteRecord, VersionRecord, VersionSettings } from './records.ts'
import type { Store } from './store/store.ts'

/** What hosts must forget after a change, sent to every worker at once. */
export type Notice = { type: 'route'; hostname: string } | { type: 'function'; tenant: string; function: string }

/** How often a compare-and-swap is tried when others write the same record. */
const ATTEMPTS = 20

const deployedVersions = deploymentRecord.shape.versions.max(20)

/**
 * Functions, versions, deployments and routes: every change to the store that a deploy makes, in the order that leaves
 * only garbage when it is cut off: bundle, version, function, route. Each method checks its names.
 */
export class Registry {
  readonly #store: Store
  readonly #notify: (notice: Notice) => void

  constructor(store: Store, notify: (notice: Notice) => void = () => {}) {
    this.#store = store
    this.#notify = notify
  }

  /** Adds a version that was checked by loading it. The same content and settings give the version that is there. */
  async addVersion(
    tenant: string,
    fn: string,
    upload: { bytes: Uint8Array; settings: VersionSettings; report: StartReport; by: string },
  ): Promise<VersionRecord> {
    checkName('tenant', tenant)
    checkName('function', fn)
    const bundle = hashBytes(upload.bytes)
    const id = versionId(bundle, upload.settings)
    const key = keys.version(tenant, fn, id)
    // First the bundle, even of a version that is known: uploading again mends one that was damaged or lost.
    await this.#putBundle(bundle, upload.bytes)
    const known = await this.#read(versionRecord, key)
    if (known !== undefined) {
      await this.#update(tenant, fn, (current) => current)
      return known.record
    }
    const record: VersionRecord = {
      id,
      bundle,
      size: upload.bytes.length,
      settings: upload.settings,
      handlers: upload.report.handlers,
      startCpuMs: Math.round(upload.report.cpuMs * 100) / 100,
      createdAt: new Date().toISOString(),
      by: upload.by,
    }
    const isFirst = await this.#putIfAbsent(key, encodeRecord(record))
    await this.#update(tenant, fn, (current) => current)
    return isFirst ? record : this.version(tenant, fn, id)
  }

  /** Makes these versions the ones that answer. `ifDeployment`: only over the deployment with that id (0: over none). */
  async deploy(
    tenant: string,
    fn: string,
    change: { versions: DeploymentRecord['versions']; by: string; ifDeployment?: number },
  ): Promise<FunctionRecord> {
    checkName('tenant', tenant)
    checkName('function', fn)
    const parsed = deployedVersions.safeParse(change.versions)
    const ids = new Set(change.versions.map((version) => version.id))
    if (!parsed.success || ids.size !== change.versions.length) {
      throw new SkepError(
        'invalid_request',
        'A deployment has 1 to 20 different versions, each with an id and a percentage from 0 to 100.',
      )
    }
    const total = change.versions.reduce((sum, version) => sum + version.percent, 0)
    if (!(Math.abs(total - 100) <= 0.001)) {
      throw new SkepError('invalid_request', `The percentages of a deployment must add up to 100; these give ${total}.`)
    }
    for (const { id } of change.versions) await this.version(tenant, fn, id)
    const record = await this.#update(tenant, fn, (current) => {
      const id = current.deployment?.id ?? 0
      if (change.ifDeployment !== undefined && change.ifDeployment !== id) {
        const hint = 'Read the function again, then repeat the change.'
        throw new SkepError('precondition_failed', `${tenant}/${fn} is at deployment ${id}, not ${change.ifDeployment}. ${hint}`)
      }
      const deployment = { id: id + 1, versions: parsed.data, createdAt: new Date().toISOString(), by: change.by }
      const history = current.deployment === null ? [] : [current.deployment, ...current.history].slice(0, HISTORY)
      return { ...current, deployment, history }
    })
    this.#notify({ type: 'function', tenant, function: fn })
    return record
  }

  /** Back to a version: the given one, or the newest in the history that is not what answers now. */
  async rollback(tenant: string, fn: string, options: { version?: string; by: string }): Promise<FunctionRecord> {
    const current = await this.function(tenant, fn)
    const now = JSON.stringify(current.deployment?.versions)
    const earlier = current.history.find((deployment) => JSON.stringify(deployment.versions) !== now)
    if (options.version === undefined && earlier === undefined) {
      throw new SkepError('not_found', `${tenant}/${fn} has no earlier deployment to go back to.`)
    }
    const versions = options.version === undefined ? earlier!.versions : [{ id: options.version, percent: 100 }]
    return this.deploy(tenant, fn, { versions, by: options.by, ifDeployment: current.deployment?.id ?? 0 })
  }

  async function(tenant: string, fn: string): Promise<FunctionRecord> {
    checkName('tenant', tenant)
    checkName('function', fn)
    const found = await this.#read(functionRecord, keys.function(tenant, fn))
    if (found === undefined) throw new SkepError('not_found', `There is no function ${tenant}/${fn}.`)
    return found.record
  }

  async version(tenant: string, fn: string, id: string): Promise<VersionRecord> {
    checkName('tenant', tenant)
    checkName('function', fn)
    const found = /^[0-9a-f]{16}$/.test(id) ? await this.#read(versionRecord, keys.version(tenant, fn, id)) : undefined
    if (found === undefined)
      throw new SkepError('not_found', `${tenant}/${fn} has no version ${JSON.stringify(id.slice(0, 80))}.`)
    return found.record
  }

  /** A page of a tenant's functions, by name. */
  async functions(tenant: string, page: PageQuery = {}): Promise<Page<FunctionRecord>> {
    checkName('tenant', tenant)
    return this.#page(`tenants/${tenant}/functions/`, page, functionRecord)
  }

  /** A page of a function's versions, by id. */
  async versions(tenant: string, fn: string, page: PageQuery = {}): Promise<Page<VersionRecord>> {
    await this.function(tenant, fn)
    return this.#page(keys.version(tenant, fn, ''), page, versionRecord)
  }

  /** Rejects with `route_conflict` for a hostname that is another tenant's, or that another tenant's wildcard answers for. */
  async checkRoute(hostname: string, tenant: string): Promise<void> {
    checkName('tenant', tenant)
    const host = checkHostname(hostname)
    const names = [host, ...wildcardsOf(host)]
    const found = await Promise.all(names.map((name) => this.#read(routeRecord, keys.route(name))))
    // Whoever has a wildcard would lose requests to a narrower name, without being asked.
    const taken = found.findIndex(
      (route, i) => route !== undefined && (i === 0 || found[0] === undefined) && route.record.tenant !== tenant,
    )
    if (taken >= 0) throw conflict(host, names[taken]!)
  }

  /** Routes a hostname to a function of the tenant. Another tenant's hostname is `route_conflict`. */
  async addRoute(hostname: string, tenant: string, fn: string): Promise<RouteRecord & { hostname: string }> {
    const host = checkHostname(hostname)
    await this.function(tenant, fn)
    await this.checkRoute(host, tenant)
    const record: RouteRecord = { tenant, function: fn, createdAt: new Date().toISOString() }
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const found = await this.#read(routeRecord, keys.route(host))
      if (found !== undefined && found.record.tenant !== tenant) throw conflict(host, host)
      if (found?.record.function === fn) return { hostname: host, ...found.record }
      const condition = found === undefined ? { ifAbsent: true } : { ifMatch: found.etag }
      try {
        await this.#store.put(keys.route(host), encodeRecord(record), condition)
        this.#notify({ type: 'route', hostname: host })
        return { hostname: host, ...record }
      } catch (error) {
        if (!isCode(error, 'precondition_failed')) throw error
      }
    }
    throw busy(keys.route(host))
  }

  async removeRoute(hostname: string, tenant: string): Promise<void> {
    checkName('tenant', tenant)
    const host = checkHostname(hostname)
    const found = await this.#read(routeRecord, keys.route(host))
    if (found === undefined) throw new SkepError('not_found', `No function is routed at ${host}.`)
    if (found.record.tenant !== tenant) throw conflict(host, host)
    await this.#store.delete(keys.route(host), { ifMatch: found.etag })
    this.#notify({ type: 'route', hostname: host })
  }

  /** A page of routes by hostname; of one tenant's only, when given. */
  async routes(page: PageQuery & { tenant?: string }): Promise<Page<RouteRecord & { hostname: string }>> {
    const { items, cursor } = await this.#entries('routes/', page, routeRecord)
    const routes = items.map(({ key, record }) => ({ hostname: key.slice('routes/'.length), ...record }))
    return { items: page.tenant === undefined ? routes : routes.filter((route) => route.tenant === page.tenant), cursor }
  }

  /** Removes its routes, then itself, then its versions. Bundles stay: others may have the same content. */
  async deleteFunction(tenant: string, fn: string): Promise<void> {
    await this.function(tenant, fn)
    for await (const route of pages((cursor) => this.routes({ tenant, ...cursor }))) {
      if (route.function !== fn) continue
      try {
        await this.removeRoute(route.hostname, tenant)
      } catch (error) {
        // Somebody else was faster.
        if (!isCode(error, 'not_found')) throw error
      }
    }
    await this.#store.delete(keys.function(tenant, fn))
    this.#notify({ type: 'function', tenant, function: fn })
    const prefix = keys.version(tenant, fn, '')
    for (;;) {
      const { keys: found } = await this.#store.list(prefix)
      if (found.length === 0) return
      for (const key of found) await this.#store.delete(key)
    }
  }

  async #update(tenant: string, fn: string, change: (current: FunctionRecord) => FunctionRecord): Promise<FunctionRecord> {
    const key = keys.function(tenant, fn)
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const found = await this.#read(functionRecord, key)
      const blank = { tenant, name: fn, createdAt: new Date().toISOString(), deployment: null, history: [] }
      const next = change(found?.record ?? blank)
      if (next === found?.record) return next
      try {
        await this.#store.put(key, encodeRecord(next), found === undefined ? { ifAbsent: true } : { ifMatch: found.etag })
        return next
      } catch (error) {
        if (!isCode(error, 'precondition_failed')) throw error
      }
    }
    throw busy(key)
  }

  /** False when there was one. */
  async #putIfAbsent(key: string, bytes: Uint8Array): Promise<boolean> {
    try {
      await this.#store.put(key, bytes, { ifAbsent: true })
      return true
    } catch (error) {
      if (!isCode(error, 'precondition_failed')) throw error
      return false
    }
  }

  /** Whoever writes under this name writes the same bytes, so one that has others is damaged and may be written over. */
  async #putBundle(sha256: string, bytes: Uint8Array): Promise<void> {
    const key = keys.bundle(sha256)
    if (await this.#putIfAbsent(key, bytes)) return
    const there = await this.#store.get(key)
    if (there !== undefined && there !== 'unchanged' && hashBytes(there.bytes) === sha256) return
    await this.#store.put(key, bytes)
  }

  async #read<T>(schema: z.ZodType<T>, key: string): Promise<{ record: T; etag: string } | undefined> {
    const object = await this.#store.get(key)
    if (object === undefined || object === 'unchanged') return undefined
    return { record: decodeRecord(schema, key, object.bytes), etag: object.etag }
  }

  async #page<T>(prefix: string, page: PageQuery, schema: z.ZodType<T>): Promise<Page<T>> {
    const { items, cursor } = await this.#entries(prefix, page, schema)
    return { items: items.map(({ record }) => record), cursor }
  }

  async #entries<T>(prefix: string, page: PageQuery, schema: z.ZodType<T>) {
    const limit = page.limit ?? 100
    const { keys: found, cursor } = await this.#store.list(prefix, {
      limit,
      ...(page.cursor === undefined ? {} : { cursor: page.cursor }),
    })
    const read = await Promise.all(found.map(async (key) => ({ key, entry: await this.#read(schema, key) })))
    const items = read.flatMap(({ key, entry }) => (entry === undefined ? [] : [{ key, record: entry.record }]))
    return { items, cursor }
  }
}

export interface PageQuery {
  cursor?: string
  /** At most this many; default 100. A page may have fewer and yet a cursor. */
  limit?: number
}

export interface Page<T> {
  items: T[]
  /** Give it to the next call; undefined on the last page. */
  cursor: string | undefined
}

/** Every item of every page. */
export async function* pages<T>(read: (cursor: { cursor?: string }) => Promise<Page<T>>): AsyncGenerator<T> {
  let cursor: string | undefined
  do {
    const page = await read(cursor === undefined ? {} : { cursor })
    yield* page.items
    cursor = page.cursor
  } while (cursor !== undefined)
}

function versionId(bundle: string, settings: VersionSettings): string {
  const sorted = (record: object) => Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1))
  const content = JSON.stringify([bundle, sorted(settings.vars), sorted(settings.limits), settings.tag])
  return createHash('sha256').update(content).digest('hex').slice(0, 16)
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof SkepError && error.code === code
}

function conflict(hostname: string, taken: string): SkepError {
  const whose = hostname === taken ? `${hostname} belongs` : `${hostname} is below ${taken}, which belongs`
  return new SkepError('route_conflict', `${whose} to another tenant. Choose another hostname, or ask the operator.`)
}

function busy(key: string): SkepError {
  return new SkepError('precondition_failed', `${key} is being changed by others all the time. Try again.`)
}
