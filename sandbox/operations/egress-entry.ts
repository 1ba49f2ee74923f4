import { isIP } from 'node:net'
import { domainToASCII } from 'node:url'
import { SkepError } from '../../host/errors.ts'
import { Addresses, isPrivateNetwork } from './addresses.ts'

/** One entry of an operator's list: an address, a network, a host name or the names below one; each with or without a port. */
export interface EgressRule {
  /** Lower-case host name; of a wildcard what follows the `*`, with its dot. Undefined for addresses. */
  host: string | undefined
  isWildcard: boolean
  addresses: Addresses | undefined
  port: number | undefined
}

/** Why an entry means nothing; '' when it does. */
export function egressMistake(entry: string): string {
  try {
    parseEgressRule(entry)
    return ''
  } catch (error) {
    return (error as Error).message
  }
}

/** Throws `invalid_config`, naming the entry. */
export function parseEgressRule(entry: string): EgressRule {
  const refuse = (why: string) => new SkepError('invalid_config', `${JSON.stringify(entry)} ${why}.`)
  const nonsense = () => refuse('is no address, network, host name or *.name, with or without :port')
  const match = /^(\[[^\]]+\]|[^:]+|[^[\]]*:[^[\]]*:[^[\]]*?)(?::(\d+))?$/.exec(entry.trim())
  if (match === null) throw nonsense()
  const port = match[2] === undefined ? undefined : Number(match[2])
  if (port !== undefined && (port < 1 || port > 65_535)) throw refuse('has a port that is not from 1 to 65535')
  const target = match[1]!.replace(/^\[([^\]]+)\]$/, '$1')
  const [address, bits] = target.split('/') as [string, string | undefined]
  if (isIP(address) !== 0) {
    if (address.includes('%')) throw refuse('has a zone, which nothing is compared with')
    const most = isIP(address) === 6 ? 128 : 32
    if (target.split('/').length > 2 || (bits !== undefined && !(/^\d{1,3}$/.test(bits) && Number(bits) <= most)))
      throw refuse(`is no network: what follows / is a number from 0 to ${most}`)
    return { host: undefined, isWildcard: false, addresses: Addresses.of([target]), port }
  }
  // Where a URL's host would end, what follows would be dropped without a word.
  if (/[\s/?#@\\:%[\]\0]/.test(target)) throw nonsense()
  const isWildcard = target.startsWith('*.')
  const host = domainToASCII(isWildcard ? target.slice(2) : target).replace(/\.$/, '')
  // `127.1` and `0x7f.1` are addresses to those who dial, and names to those who compare.
  if (isIP(host) !== 0 || /(?:^|\.)(?:\d+|0x[0-9a-f]*)$/i.test(host)) throw refuse('is no address in its usual notation')
  if (!/^(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_][a-z0-9_-]{0,62})*$/.test(host)) throw nonsense()
  return { host: isWildcard ? `.${host}` : host, isWildcard, addresses: undefined, port }
}

/** `address` is plain, `host` lower-case and without a trailing dot. */
export function ruleApplies(rule: EgressRule, address: string, port: number, host: string): boolean {
  if (rule.port !== undefined && rule.port !== port) return false
  return rule.host === undefined ? rule.addresses!.has(address) : namesHost(rule, host)
}

/**
 * A wildcard opens public addresses and private networks, and nothing on this machine or its link: whoever may add a name
 * below it would otherwise choose.
 */
export function ruleOpens(rule: EgressRule, address: string, port: number, host: string): boolean {
  return ruleApplies(rule, address, port, host) && (!rule.isWildcard || isPrivateNetwork(address))
}

export function namesHost(rule: EgressRule, host: string): boolean {
  if (rule.host === undefined) return false
  return rule.isWildcard ? host.length > rule.host.length && host.endsWith(rule.host) : host === rule.host
}
