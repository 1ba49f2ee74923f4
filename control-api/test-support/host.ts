import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { pino } from 'pino'
import type { Bundle } from '../../bundler/artifact.ts'
import { decodeBundle, encodeBundle } from '../../bundler/artifact.ts'
import { ConductBook } from '../../host/conduct-book.ts'
import { configSchema } from '../../host/config.ts'
import { SkepError } from '../../host/errors.ts'
import type { TokenRecord } from '../../host/records.ts'
import { Registry } from '../../host/registry.ts'
import { openFileStore } from '../../host/store/file.ts'
import { DEFAULT_LIMITS } from '../../sandbox/limits.ts'
import { createApi } from '../app.ts'
import type { ApiOptions } from '../app.ts'
import { Tokens } from '../tokens.ts'

/** A control API over a store in a temporary folder, with a sandbox and functions that only pretend. */
export async function openApi(t: TestContext, changes: Partial<ApiOptions> = {}) {
  const dir = await temporaryFolder(t)
  const store = await openFileStore(join(dir, 'store'))
  t.after(() => store.close())
  const registry = new Registry(store)
  const tokens = new Tokens(store)
  const lines: Record<string, unknown>[] = []
  const log = pino({ level: 'debug' }, { write: (line: string) => lines.push(JSON.parse(line)) })
  const options: ApiOptions = {
    registry,
    store,
    tokens,
    log,
    check: pretendToCheck,
    conduct: new ConductBook(configSchema.parse({})),
    invoke: pretendToInvoke,
    status: async () => ({ dataPort: 8080, workers: 2 }),
    metrics: async () => 'skep_up 1\n',
    usage: async () => [],
    ready: () => true,
    limits: { ...DEFAULT_LIMITS, bundleBytes: 100_000, bodyBytes: 100_000 },
    ...changes,
  }
  const api = createApi(options)
  const operator = await tokens.create({ name: 'root', tenant: '*', role: 'admin' })

  /** A request with the operator's token, or the given one; '' for none. */
  const call = async (method: string, path: string, given: Call = {}) => {
    const headers = new Headers(given.headers)
    const token = given.token ?? operator.text
    if (token !== '') headers.set('authorization', `Bearer ${token}`)
    if (given.json !== undefined) headers.set('content-type', 'application/json')
    const body = given.json === undefined ? given.body : JSON.stringify(given.json)
    const init = { method, headers, ...(body === undefined ? {} : { body, duplex: 'half' as const }) }
    const response = await api.fetch(new Request(`http://127.0.0.1:8081${path}`, init))
    const text = await response.text()
    return { response, status: response.status, text, body: jsonOf(text) }
  }
  const tokenFor = async (tenant: string, role: TokenRecord['role']) =>
    (await tokens.create({ name: `${tenant} ${role}`, tenant, role })).text
  const upload = (name: string, code: string, given: Call & { metadata?: object } = {}) =>
    call('POST', `/v1/functions/${name}/versions`, { ...given, body: form(given.metadata ?? {}, bundleOf(code)) })
  /** Uploads and deploys; the version's id. */
  const deploy = async (name: string, code: string, given: Call = {}): Promise<string> => {
    const { id } = (await upload(name, code, given)).body.version
    await call('PUT', `/v1/functions/${name}/deployment`, { ...given, json: { versions: [{ id, percent: 100 }] } })
    return id
  }
  return { dir, store, registry, tokens, options, api, lines, operator: operator.text, call, tokenFor, upload, deploy }
}

export interface Call {
  token?: string
  headers?: Record<string, string>
  json?: unknown
  body?: string | FormData | Uint8Array<ArrayBuffer> | ReadableStream
}

export async function temporaryFolder(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'skep-api-'))
  t.after(() => rm(dir, { recursive: true, force: true }))
  return dir
}

export function bundleOf(code: string, changes: Partial<Bundle> = {}): Uint8Array<ArrayBuffer> {
  return new Uint8Array(encodeBundle({ code, async: false, modules: {}, sourceMap: '', nodejs: false, ...changes }))
}

export function form(metadata: object | string, bundle: Uint8Array<ArrayBuffer> | string): FormData {
  const form = new FormData()
  form.set('metadata', typeof metadata === 'string' ? metadata : JSON.stringify(metadata))
  form.set('bundle', new Blob([bundle]))
  return form
}

// oxlint-disable-next-line typescript/no-explicit-any -- tests look into every kind of answer
function jsonOf(text: string): any {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Code that begins with `throw` does not start. */
const pretendToCheck: ApiOptions['check'] = async (bytes) => {
  if (decodeBundle(bytes).code.startsWith('throw')) throw new SkepError('start_failed', 'Error: no good\n    at index.ts:1:7')
  return { cpuMs: 1.234, handlers: ['fetch'] }
}

/** Answers what it was asked; `/status/NNN` answers that status. */
const pretendToInvoke: ApiOptions['invoke'] = async (tenant, fn, request, version) => {
  const url = new URL(request.url)
  const status = Number(/^\/status\/(\d+)$/.exec(url.pathname)?.[1] ?? 200)
  const answer = {
    tenant,
    fn,
    version,
    method: request.method,
    url: request.url,
    type: request.headers.get('content-type'),
    body: await request.text(),
  }
  return Response.json(answer, { status, headers: { connection: 'close', 'skep-function': 'a lie' } })
}
