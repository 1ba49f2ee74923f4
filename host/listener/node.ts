/** The listener over node:http. It runs everywhere, and handles what uWebSockets refuses: HTTP/1.0, absolute targets. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { CLIENT_LIMITS, MAX_HEADER_BYTES } from './_limits.ts'
import { NodeExchange, type NodeTraffic } from './_node-exchange.ts'
import { readHead, refuse } from './_node-head.ts'
import { NodeListener } from './_node-listener.ts'
import type { ClientLimits } from './_limits.ts'
import type { Exchange, Listener, ListenOptions } from './listener.ts'

export async function listenNode(options: ListenOptions): Promise<Listener> {
  const listener = new NodeListener('node', createServer(http1Options(options.limits)), options)
  await listener.bind(options.address ?? '0.0.0.0', options.port, options.shared ?? false)
  return listener
}

/** What node:http is to hold its clients to, in the clear and over TLS. */
export function http1Options({ idleMs }: ClientLimits = CLIENT_LIMITS) {
  return {
    maxHeaderSize: MAX_HEADER_BYTES,
    // Checked by us, so that the answer has its code.
    requireHostHeader: false,
    connectionsCheckingInterval: Math.min(2_000, idleMs / 4),
    noDelay: true,
  }
}

const embedded: NodeTraffic = { draining: false, inFlight: 0, settled: () => {} }

/**
 * A request of somebody else's node:http server. Undefined when it was malformed: then it is answered. The server's own
 * timeouts and limits hold.
 */
export function nodeExchange(req: IncomingMessage, res: ServerResponse): Exchange | undefined {
  const head = readHead(req)
  if (typeof head === 'string') {
    refuse(res, head)
    return undefined
  }
  return new NodeExchange(embedded, req, res, head)
}
