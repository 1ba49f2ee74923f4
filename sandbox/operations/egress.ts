import { BlockList, isIP } from 'node:net'
import { networkInterfaces } from 'node:os'
import { SkepError } from '../../host/errors.ts'

/**
 * Which addresses functions may reach. Public ones, unless `deny` names them; of the others only what `allow` names.
 * Checked on the address that is connected to: after DNS, on every attempt, on every redirect.
 */
export interface Egress {
  /** Entries: an address, a network (`10.1.0.0/16`), or a host name; each with or without `:port`. */
  allow: string[]
  deny: string[]
}

/** Special-purpose ranges (IANA's registries, RFC 6890 and its updates): nothing public is in them. */
const SPECIAL_IPV4 = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  // Azure's metadata service, which answers on an address of the public range.
  '168.63.129.16/32',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/3',
]
/** Everything but global unicast (2000::/3), and what in it is special or wraps an IPv4 address. */
const SPECIAL_IPV6 = ['::/3', '4000::/2', '8000::/1', '2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20']

interface Rule {
  /** Lower-case host name, or undefined for addresses. */
  host: string | undefined
  addresses: Addresses | undefined
  port: number | undefined
}

export class EgressRules {
  readonly #special = new Addresses()
  readonly #allow: Rule[]
  readonly #deny: Rule[]

  constructor(egress: Egress) {
    for (const network of SPECIAL_IPV4) this.#special.add(network)
    for (const network of SPECIAL_IPV6) this.#special.add(network)
    // The machine's own addresses may be public ones; its other services are nobody's to reach from inside.
    for (const list of Object.values(networkInterfaces())) {
      for (const { address } of list ?? []) this.#special.add(address)
    }
    this.#allow = egress.allow.map(parseRule)
    this.#deny = egress.deny.map(parseRule)
  }

  /** Why this may not be connected to; '' when it may. `hostname` is what the function asked for. */
  refusal(address: string, port: number, hostname: string): string {
    // `example.com.` is `example.com`.
    const host = hostname.toLowerCase().replace(/\.$/, '')
    if (this.#deny.some((rule) => applies(rule, address, port, host))) return `${hostname}:${port} is denied by the operator`
    if (this.#allow.some((rule) => applies(rule, address, port, host))) return ''
    if (this.#special.has(address)) return `${hostname} is not a public address`
    return ''
  }
}

function applies(rule: Rule, address: string, port: number, host: string): boolean {
  if (rule.port !== undefined && rule.port !== port) return false
  return rule.host === undefined ? rule.addresses!.has(address) : rule.host === host
}

/** Networks of both families, apart: one list of Node's takes an IPv4 address for the mapped one, which `::/3` contains. */
class Addresses {
  readonly #ipv4 = new BlockList()
  readonly #ipv6 = new BlockList()

  add(network: string): void {
    const [address, bits] = network.replace(/%.*$/, '').split('/') as [string, string | undefined]
    if (isIP(address) === 6) this.#ipv6.addSubnet(address, bits === undefined ? 128 : Number(bits), 'ipv6')
    else this.#ipv4.addSubnet(address, bits === undefined ? 32 : Number(bits), 'ipv4')
  }

  has(address: string): boolean {
    const plain = unwrap(address)
    return isIP(plain) === 6 ? this.#ipv6.check(plain, 'ipv6') : this.#ipv4.check(plain, 'ipv4')
  }
}

/** `::ffff:127.0.0.1` reaches 127.0.0.1; it is judged as that. */
function unwrap(address: string): string {
  const bare = address.replace(/%.*$/, '')
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(bare)?.[1] ?? bare
}

function parseRule(entry: string): Rule {
  const match = /^(\[[^\]]+\](?:\/\d+)?|[^:]+|[^[\]]*:[^[\]]*:[^[\]]*?)(?::(\d+))?$/.exec(entry.trim())
  const bad = () =>
    new SkepError(
      'invalid_config',
      `egress: ${JSON.stringify(entry)} is no address, network or host name, with or without :port.`,
    )
  if (match === null) throw bad()
  const port = match[2] === undefined ? undefined : Number(match[2])
  if (port !== undefined && port > 65_535) throw bad()
  const target = match[1]!.replace(/^\[([^\]]+)\]/, '$1')
  if (isIP(target.replace(/\/.*$/, '')) === 0) {
    if (!/^[a-z0-9_.-]+$/i.test(target)) throw bad()
    return { host: target.toLowerCase(), addresses: undefined, port }
  }
  const addresses = new Addresses()
  try {
    addresses.add(target)
  } catch {
    throw bad()
  }
  return { host: undefined, addresses, port }
}
