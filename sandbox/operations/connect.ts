import { isIP } from 'node:net'
import type { LookupFunction, Socket } from 'node:net'
import { Agent, buildConnector, Pool } from 'undici'
import type { TenantNetwork } from './network.ts'

/** An outbound connection that the rules refuse. */
export class RefusedAddress extends Error {}

/** Opens a socket; undici's own, but for tests that must send nothing. */
export type Dial = (options: buildConnector.BuildOptions) => buildConnector.connector

const CONNECT_MS = 10_000
/** How long a connection is kept for the next request, ms: by default, and at most, whatever its server proposes. */
const KEEP_MS = 4_000
const KEEP_MOST_MS = 10_000
/** Connections of one sandbox to one origin. */
const CONNECTIONS = 128
/** Bytes of an answer's head. */
const HEADER_BYTES = 65_536
/** Origins that one sandbox is connected to. */
const ORIGINS = 512

/**
 * Connections of one sandbox: pools of its own, so that no tenant rides on another's connection, and the rules asked at
 * each connect, with the address that is really dialled.
 */
export function createAgent(network: TenantNetwork): Agent {
  return new Agent({
    // One connector an origin: the TLS sessions that it keeps are then of this sandbox and of this server.
    factory: (origin, options) => new Pool(origin, { ...options, connect: createConnector(network) }),
    maxOrigins: ORIGINS,
    connections: CONNECTIONS,
    allowH2: false,
    keepAliveTimeout: KEEP_MS,
    keepAliveMaxTimeout: KEEP_MOST_MS,
    maxHeaderSize: HEADER_BYTES,
    // The event's wall time bounds both.
    headersTimeout: 0,
    bodyTimeout: 0,
  })
}

/** The connect hook: whatever a function reaches, it reaches through here. */
export function createConnector(network: TenantNetwork): buildConnector.connector {
  let port = 0
  const dial = network.dial({
    timeout: CONNECT_MS,
    allowH2: false,
    // Of the addresses of a name each that is tried is one of these: there is no second look-up.
    lookup: (hostname, options, callback) => checkedLookup(network, hostname, port, options, callback),
  })
  return (options, callback) => {
    const hostname = options.hostname.replace(/^\[|\]$/g, '')
    port = Number(options.port) || (options.protocol === 'https:' ? 443 : 80)
    // A literal address is dialled without a look-up, so it is judged here.
    const refusal =
      isIP(hostname) === 0 ? network.reach.refusesName(hostname, port) : network.reach.refusal(hostname, port, hostname)
    if (refusal !== '') {
      callback(new RefusedAddress(refusal), null)
      return
    }
    if (!network.mayConnect()) {
      callback(new Error('too many connections are open for this tenant'), null)
      return
    }
    const socket = dial(options, (...result: Parameters<buildConnector.Callback>) => {
      // With an error undici gives no second argument.
      const connected = result[1] ?? undefined
      // What was judged is what was dialled; should that ever not be so, nothing is said over it.
      const dialled = connected?.remoteAddress
      const strayed = dialled === undefined ? '' : network.reach.refusal(dialled, port, hostname)
      if (strayed === '') {
        callback(...result)
        return
      }
      connected!.destroy()
      callback(new RefusedAddress(strayed), null)
    })
    network.connected(socket as unknown as Socket | undefined)
  }
}

/** DNS, without the answers that the rules refuse. */
function checkedLookup(
  network: TenantNetwork,
  hostname: string,
  port: number,
  options: Parameters<LookupFunction>[1],
  callback: Parameters<LookupFunction>[2],
): void {
  network.lookups.find(hostname, (error, addresses) => {
    if (error !== null) {
      callback(error as NodeJS.ErrnoException, [])
      return
    }
    const allowed = addresses.filter(({ address }) => network.reach.refusal(address, port, hostname) === '')
    if (allowed.length === 0) {
      const refusal = network.reach.refusal(addresses[0]?.address ?? '0.0.0.0', port, hostname)
      callback(new RefusedAddress(refusal) as NodeJS.ErrnoException, [])
    } else if (options.all === true) callback(null, allowed)
    else callback(null, allowed[0]!.address, allowed[0]!.family)
  })
}
