import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { encodeBundle, hashBytes } from '../../bundler/artifact.ts'
import type { Bundle } from '../../bundler/artifact.ts'
import { bundle } from '../../bundler/bundle.ts'
import { eventually, startServed } from '../served.ts'
import type { Served } from '../served.ts'
import type { Attack } from './attack.ts'
import { Client } from './client.ts'
import type { Answer } from './client.ts'
import type { Sent } from './attack.ts'

export interface Upload {
  source?: string
  script?: Attack['script']
  modules?: Record<string, Uint8Array>
  limits?: Record<string, number>
  vars?: Record<string, string>
  tenant?: string
}

export interface ApiAnswer {
  status: number
  /** Of the problem document, or ''. */
  code: string
  // oxlint-disable-next-line typescript/no-explicit-any -- attacks look into every kind of answer
  body: any
}

/** The real host, in processes of its own, and how the attacks reach it: deploys over its API, requests to its data port. */
export class Scene {
  readonly served: Served
  /** `http://127.0.0.1:PORT` of a server that functions are allowed to reach. */
  readonly origin: string
  readonly #token: string
  readonly #outside: Server

  private constructor(served: Served, outside: Server, token: string) {
    this.served = served
    this.#outside = outside
    this.origin = originOf(outside)
    this.#token = token
  }

  static async open(options: { data: string; args: string[] }): Promise<Scene> {
    const outside = createServer(answerOutside)
    await new Promise<void>((resolve) => outside.listen(0, '127.0.0.1', resolve))
    const env = {
      SKEP_EGRESS_ALLOW: originOf(outside).slice('http://'.length),
    }
    const served = await startServed({ ...options, env })
    // Its own children end with it.
    process.once('exit', () => served.process.kill('SIGKILL'))
    const token = (await readFile(join(options.data, 'admin-token'), 'utf8')).trim()
    return new Scene(served, outside, token)
  }

  async close(): Promise<void> {
    this.#outside.closeAllConnections()
    this.#outside.close()
    await this.served.stop()
  }

  async api(
    method: string,
    path: string,
    options: { tenant?: string; json?: unknown; body?: FormData; token?: string } = {},
  ): Promise<ApiAnswer> {
    const headers: Record<string, string> = { authorization: `Bearer ${options.token ?? this.#token}` }
    if (options.tenant !== undefined) headers['skep-tenant'] = options.tenant
    if (options.json !== undefined) headers['content-type'] = 'application/json'
    const body = options.json === undefined ? options.body : JSON.stringify(options.json)
    const response = await fetch(`http://127.0.0.1:${this.served.apiPort}${path}`, {
      method,
      headers,
      ...(body === undefined ? {} : { body }),
    })
    const text = await response.text()
    const isJson = /json/.test(response.headers.get('content-type') ?? '')
    const parsed = isJson && text !== '' ? JSON.parse(text) : undefined
    return { status: response.status, code: parsed?.code ?? '', body: parsed ?? text }
  }

  /** Uploads only. */
  async upload(name: string, upload: Upload): Promise<ApiAnswer> {
    const bytes = encodeBundle(await bundleOf(upload))
    const { limits = {}, vars = {} } = upload
    return this.uploadBytes(name, bytes, { limits, vars, sha256: hashBytes(bytes) }, upload.tenant)
  }

  uploadBytes(name: string, bytes: Uint8Array, metadata: unknown, tenant?: string): Promise<ApiAnswer> {
    const form = new FormData()
    form.set('metadata', typeof metadata === 'string' ? metadata : JSON.stringify(metadata))
    form.set('bundle', new Blob([bytes as Uint8Array<ArrayBuffer>]))
    return this.api('POST', `/v1/functions/${name}/versions`, { body: form, ...(tenant === undefined ? {} : { tenant }) })
  }

  /** Uploads, activates and routes `NAME.localhost` to it; the upload's code where it was refused, else ''. */
  async deploy(name: string, upload: Upload): Promise<string> {
    const { status, code, body } = await this.upload(name, upload)
    if (status >= 300) return code
    const tenant = upload.tenant === undefined ? {} : { tenant: upload.tenant }
    const versions = [{ id: body.version.id, percent: 100 }]
    const deployed = await this.api('PUT', `/v1/functions/${name}/deployment`, { ...tenant, json: { versions } })
    if (deployed.status !== 200) return deployed.code
    const routed = await this.api('PUT', `/v1/routes/${name}.localhost`, { ...tenant, json: { function: name } })
    return routed.status === 200 ? '' : routed.code
  }

  client(host: string): Client {
    return new Client(this.served.port, host)
  }

  /** One request on a connection of its own. */
  async send(host: string, sent: Sent = {}): Promise<Answer> {
    const client = this.client(host)
    try {
      return await client.send(sent)
    } finally {
      client.close()
    }
  }

  /** A line of the log of the function that has this hostname. */
  async logged(host: string, pattern: RegExp): Promise<string> {
    const of = `"default/${host.replace('.localhost', '')}"`
    let found: string | undefined
    await eventually(`the log of ${host} has ${pattern}`, async () => {
      found = this.served.log.find((line) => line.includes(of) && pattern.test(line))
      return found !== undefined
    })
    return found!
  }

  /** Samples of the host's metrics: `name{labels}` and value. */
  async metrics(): Promise<[string, number][]> {
    const text = await (await fetch(`http://127.0.0.1:${this.served.apiPort}/metrics`)).text()
    return text
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))])
  }
}

async function bundleOf({ source, script, modules = {} }: Upload): Promise<Bundle> {
  if (script !== undefined) return { async: false, sourceMap: '', nodejs: false, ...script, modules }
  const { bundle: made } = await bundle({ code: source!, filename: 'attack.js' }, { maxBytes: Number.MAX_SAFE_INTEGER })
  Object.assign(made.modules, modules)
  return made
}

function originOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** What functions find outside. `/peer` tells which connection a request came on. */
function answerOutside(request: IncomingMessage, response: ServerResponse): void {
  const url = new URL(request.url!, 'http://outside')
  if (url.pathname === '/headers') response.end(JSON.stringify(request.headers))
  else if (url.pathname === '/peer') response.end(String(request.socket.remotePort))
  else if (url.pathname === '/redirect')
    response.writeHead(Number(url.searchParams.get('status') ?? 302), { location: url.searchParams.get('to')! }).end()
  else if (url.pathname === '/endless') pour(response)
  else if (url.pathname === '/bomb') response.writeHead(200, { 'x-bomb': 'x'.repeat(12_000) }).end('bomb')
  else if (url.pathname === '/cut') {
    response.write('some')
    setImmediate(() => response.destroy())
  } else if (url.pathname !== '/silent') response.end('outside')
}

function pour(response: ServerResponse): void {
  const chunk = Buffer.alloc(65_536, 'x')
  const more = () => {
    while (!response.destroyed && response.write(chunk));
  }
  response.on('drain', more)
  more()
}
