/** A skep host with a data folder of its own, and what a scenario does with it through the control API. */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { encodeBundle, hashBytes } from '../bundler/artifact.ts'
import { bundle } from '../bundler/bundle.ts'
import { startServer, treeOf } from './processes.ts'

export interface SkepHost {
  port: number
  pid: number
  data: string
  /** Processes that listen. */
  workers(): Promise<number[]>
  /** Uploads a version and makes it the one that answers. Its id, and when each step was done, ms from the call. */
  deploy(name: string, code: string, tenant?: string): Promise<{ version: string; uploadedMs: number; activatedMs: number }>
  route(name: string, hostname: string, tenant?: string): Promise<void>
  rollback(name: string): Promise<void>
  /** Prometheus' text format. */
  metrics(): Promise<string>
  stop(): Promise<void>
}

/** `settings` are a host's, by path (`{ 'pool.maxIsolates': '100' }`). `data`: a folder that another host has too. */
export async function startSkep(
  settings: Record<string, string>,
  options: { core?: number; data?: string; nodeArgs?: string[] } = {},
): Promise<SkepHost> {
  const data = options.data ?? (await mkdtemp(join(tmpdir(), 'skep-bench-')))
  const flags = { port: '0', 'api.port': '0', address: '127.0.0.1', 'log.level': 'warn', data, ...settings }
  const file = join(import.meta.dirname, 'servers/skep.ts')
  const server = await startServer<{ port: number; apiPort: number; token?: string }>(file, flags, options)
  const token = server.ready.token ?? (await readFile(join(data, 'admin-token'), 'utf8')).trim()
  const api = new Api(`http://127.0.0.1:${server.ready.apiPort}`, token)

  return {
    port: server.ready.port,
    pid: server.pid,
    data,
    workers: async () => (JSON.parse(await api.call('GET', '/v1/status')) as { pids: number[] }).pids,
    async deploy(name, code, tenant = 'default') {
      const { bundle: made } = await bundle({ code })
      const bytes = encodeBundle(made)
      const began = performance.now()
      const form = new FormData()
      form.set('metadata', JSON.stringify({ vars: {}, limits: {}, tag: '', sha256: hashBytes(bytes) }))
      form.set('bundle', new Blob([bytes as Uint8Array<ArrayBuffer>]))
      const { version } = JSON.parse(await api.call('POST', `/v1/functions/${name}/versions?tenant=${tenant}`, form)) as {
        version: { id: string }
      }
      const uploadedMs = performance.now() - began
      await api.call('PUT', `/v1/functions/${name}/deployment?tenant=${tenant}`, { versions: [{ id: version.id, percent: 100 }] })
      return { version: version.id, uploadedMs, activatedMs: performance.now() - began }
    },
    route: async (name, hostname, tenant = 'default') =>
      void (await api.call('PUT', `/v1/routes/${hostname}?tenant=${tenant}`, { function: name })),
    rollback: async (name) => void (await api.call('POST', `/v1/functions/${name}/rollback`, {})),
    metrics: () => api.call('GET', '/metrics'),
    async stop() {
      await server.stop()
      if (options.data === undefined) await rm(data, { recursive: true, force: true })
    },
  }
}

/** The worker of a host that has one. */
export async function onlyWorker(host: SkepHost): Promise<number> {
  const pids = await host.workers()
  if (pids.length !== 1 || !treeOf(host.pid).includes(pids[0]!))
    throw new Error(`The host has the workers ${pids.join(', ')}, not one of its own.`)
  return pids[0]!
}

class Api {
  readonly #origin: string
  readonly #token: string

  constructor(origin: string, token: string) {
    this.#origin = origin
    this.#token = token
  }

  async call(method: string, path: string, body?: FormData | object): Promise<string> {
    const json = body === undefined || body instanceof FormData
    const response = await fetch(this.#origin + path, {
      method,
      headers: { authorization: `Bearer ${this.#token}`, ...(json ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body: json ? (body as FormData) : JSON.stringify(body) }),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${text}`)
    return text
  }
}
