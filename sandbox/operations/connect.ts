import { lookup } from 'node:dns'
import { isIP } from 'node:net'
import type { LookupFunction } from 'node:net'
import { Agent, buildConnector } from 'undici'
import type { EgressRules } from './egress.ts'

/** An outbound connection that the rules refuse. */
export class RefusedAddress extends Error {}

/**
 * Connections of one sandbox: a pool of its own, so that no tenant rides on another's connection, and the rules asked at
 * each connect, with the address that is really dialled.
 */
export function createAgent(rules: EgressRules): Agent {
  const connect: buildConnector.connector = (options, callback) => {
    const hostname = options.hostname.replace(/^\[|\]$/g, '')
    const port = Number(options.port) || (options.protocol === 'https:' ? 443 : 80)
    // A literal address is dialled without a look-up, so it is judged here.
    const refusal = isIP(hostname) === 0 ? '' : rules.refusal(hostname, port, hostname)
    if (refusal === '') buildConnector({ timeout: 10_000, lookup: checkedLookup(port, rules) })(options, callback)
    else callback(new RefusedAddress(refusal), null)
  }
  return new Agent({ connect, connections: 128, keepAliveTimeout: 10_000, headersTimeout: 0, bodyTimeout: 0 })
}

/** DNS, without the answers that the rules refuse. */
function checkedLookup(port: number, rules: EgressRules): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, addresses) => {
      if (error !== null) {
        callback(error, [])
        return
      }
      const allowed = addresses.filter(({ address }) => rules.refusal(address, port, hostname) === '')
      if (allowed.length === 0) {
        const refusal = new RefusedAddress(rules.refusal(addresses[0]?.address ?? '0.0.0.0', port, hostname))
        callback(refusal as NodeJS.ErrnoException, [])
      } else if (options.all) callback(null, allowed)
      else callback(null, allowed[0]!.address, allowed[0]!.family)
    })
  }
}
