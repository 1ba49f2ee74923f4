import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { ERRORS, SkepError } from '../../host/errors.ts'
import type { ErrorCode } from '../../host/errors.ts'
import type { Problem } from '../problem.ts'
import { adminTokenFile } from '../tokens.ts'
import { UsageError } from './command.ts'
import { startFolder } from './start-folder.ts'

/** The flags of every command that talks to a host. */
export const API_ARGS = {
  api: { type: 'string', description: 'The control API (SKEP_API_URL; default http://127.0.0.1:8081).', valueHint: 'url' },
  token: { type: 'string', description: 'The token (SKEP_TOKEN; default: <data>/admin-token).', valueHint: 'token' },
  data: { type: 'string', description: 'The folder of a host on this machine (SKEP_DATA; default .skep).', valueHint: 'dir' },
  tenant: { type: 'string', description: 'The tenant, for an operator’s token (default: default).', valueHint: 'name' },
  json: { type: 'boolean', description: 'Prints JSON, for scripts.' },
} as const

export interface ApiArgs {
  api: string | undefined
  token: string | undefined
  data: string | undefined
  tenant: string | undefined
}

export interface CallOptions {
  method?: string
  query?: Record<string, string>
  headers?: Record<string, string>
  /** Sent as JSON. */
  json?: unknown
  body?: FormData
}

export class Client {
  readonly #url: URL
  readonly #headers: Record<string, string>

  constructor(url: URL, headers: Record<string, string>) {
    this.#url = url
    this.#headers = headers
  }

  /** The answer whatever its status. Throws where there is none. */
  async send(path: string, options: CallOptions = {}): Promise<Response> {
    const url = new URL(this.#url)
    url.pathname = url.pathname.replace(/\/$/, '') + path
    for (const [name, value] of Object.entries(options.query ?? {})) url.searchParams.set(name, value)
    const json = options.json === undefined ? {} : { 'content-type': 'application/json' }
    const body = options.json === undefined ? options.body : JSON.stringify(options.json)
    const headers = { ...this.#headers, ...json, ...options.headers }
    try {
      return await fetch(url, {
        method: options.method ?? 'GET',
        headers,
        ...(body === undefined ? {} : { body }),
        redirect: 'error',
      })
    } catch (cause) {
      throw unreachable(this.#url, cause)
    }
  }

  /** The JSON of an answer (undefined for 204). Throws a problem as the SkepError that it is. */
  async call<T>(path: string, options: CallOptions = {}): Promise<T> {
    const response = await this.send(path, options)
    if (!response.ok) throw await problemOf(response)
    return (response.status === 204 ? undefined : await response.json()) as T
  }

  /** The items of all pages. */
  async all<T>(path: string): Promise<T[]> {
    const items: T[] = []
    let cursor: string | undefined
    do {
      const page: { items: T[]; cursor?: string } = await this.call(path, { query: cursor === undefined ? {} : { cursor } })
      items.push(...page.items)
      cursor = page.cursor
    } while (cursor !== undefined)
    return items
  }
}

export async function connect(args: ApiArgs): Promise<Client> {
  const text = args.api ?? (process.env['SKEP_API_URL'] || 'http://127.0.0.1:8081')
  const url = URL.parse(text)
  if (url === null || !/^https?:$/.test(url.protocol))
    throw new UsageError(`--api must be an http or https URL, not ${JSON.stringify(text)}.`)
  const token = args.token ?? process.env['SKEP_TOKEN'] ?? (await tokenOnDisk(args, url))
  const headers: Record<string, string> = {}
  if (token !== undefined) headers['authorization'] = `Bearer ${token.trim()}`
  if (args.tenant !== undefined) headers['skep-tenant'] = args.tenant
  return new Client(url, headers)
}

/** The path of something of a function. */
export function functionPath(name: string, rest = ''): string {
  return `/v1/functions/${encodeURIComponent(name)}${rest}`
}

export async function problemOf(response: Response): Promise<SkepError> {
  const text = await response.text()
  try {
    const { code, detail, details } = JSON.parse(text) as Problem
    if (code in ERRORS) return new SkepError(code, detail, details === undefined ? {} : { details })
  } catch {
    // Something else than skep answers there.
  }
  const code: ErrorCode = response.status === 404 ? 'not_found' : 'invalid_request'
  return new SkepError(
    code,
    `${new URL(response.url).origin} answered ${response.status} and no problem document. Is it a skep host's API?`,
  )
}

/** Sent to other machines only when --data asks for it: they have no business with this machine's admin token. */
async function tokenOnDisk(args: ApiArgs, url: URL): Promise<string | undefined> {
  const local = ['127.0.0.1', 'localhost', '[::1]'].includes(url.hostname)
  if (!local && args.data === undefined) return undefined
  const file = adminTokenFile(resolve(startFolder(), args.data ?? process.env['SKEP_DATA'] ?? '.skep'))
  try {
    return await readFile(file, 'utf8')
  } catch (cause) {
    if (args.data === undefined) return undefined
    throw new SkepError('unauthorized', `The token file ${file} cannot be read (${(cause as NodeJS.ErrnoException).code}).`, {
      cause,
    })
  }
}

function unreachable(url: URL, error: unknown): Error {
  const cause = (error as Error).cause as NodeJS.ErrnoException | undefined
  const at = `${url.origin}${url.pathname === '/' ? '' : url.pathname}`
  if (cause?.code === 'ECONNREFUSED') {
    return new Error(`No skep host answers at ${at}. Start one with \`skep serve\`, or give --api.`, { cause: error })
  }
  return new Error(`${at} cannot be reached: ${cause?.message ?? (error as Error).message}`, { cause: error })
}
