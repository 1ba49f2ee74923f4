import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import { SkepError } from '../host/errors.ts'
import type { Api } from './app.ts'

/** How often a draining server closes the connections that have become idle, ms. */
const SWEEP_MS = 20

export interface ApiServer {
  port: number
  /** Takes no more connections, lets requests in flight finish for at most `graceMs` (default 10,000), then cuts them. */
  close(graceMs?: number): Promise<void>
}

/** Serves the API over HTTP. `port` 0 takes a free one. Throws `port_in_use`, or `invalid_config` for an address it cannot have. */
export async function serveApi(
  api: Pick<Api, 'fetch'>,
  { port, address }: { port: number; address: string },
): Promise<ApiServer> {
  // Without this the adapter replaces the process's own Request and Response, which functions' answers are made of.
  const server = createAdaptorServer({ fetch: api.fetch, overrideGlobalObjects: false }) as Server
  await listen(server, port, address)
  return {
    port: (server.address() as AddressInfo).port,
    close: (graceMs = 10_000) => drain(server, graceMs),
  }
}

function listen(server: Server, port: number, address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const where = `${address}:${port}`
      const taken = `The API's port ${where} is in use. Stop what uses it, or choose another with --api-port (0: any free one).`
      const refused = `The API cannot listen on ${where} (${cause.code}). Check api.address and api.port.`
      reject(
        cause.code === 'EADDRINUSE'
          ? new SkepError('port_in_use', taken, { cause })
          : new SkepError('invalid_config', refused, { cause }),
      )
    })
    server.listen(port, address, resolve)
  })
}

async function drain(server: Server, graceMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  const sweep = setInterval(() => server.closeIdleConnections(), SWEEP_MS)
  const cut = setTimeout(() => server.closeAllConnections(), graceMs)
  await closed
  clearInterval(sweep)
  clearTimeout(cut)
}
