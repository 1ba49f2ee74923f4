import type { Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import { SkepError } from '../host/errors.ts'
import type { Api } from './app.ts'

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
  const connections = countRequests(server)
  await listen(server, port, address)
  return {
    port: (server.address() as AddressInfo).port,
    close: (graceMs = 10_000) => drain(server, connections, graceMs),
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

/** How many requests of each open connection are being answered. */
type Connections = Map<Socket, number>

function countRequests(server: Server): Connections {
  const connections: Connections = new Map()
  server.on('connection', (socket) => {
    connections.set(socket, 0)
    socket.once('close', () => connections.delete(socket))
  })
  server.on('request', ({ socket }, response) => {
    connections.set(socket, (connections.get(socket) ?? 0) + 1)
    response.once('close', () => {
      if (!connections.has(socket)) return
      connections.set(socket, connections.get(socket)! - 1)
      if (!server.listening) endIdle(connections)
    })
  })
  return connections
}

/** node:http's own `closeIdleConnections` leaves those that have not sent a request yet. */
function endIdle(connections: Connections): void {
  for (const [socket, requests] of connections) if (requests === 0) socket.destroySoon()
}

async function drain(server: Server, connections: Connections, graceMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  endIdle(connections)
  const cut = setTimeout(() => server.closeAllConnections(), graceMs)
  await closed
  clearTimeout(cut)
}
