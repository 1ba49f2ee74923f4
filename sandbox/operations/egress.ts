import { networkInterfaces } from 'node:os'
import { isLoopback, isSpecial, plainAddress, Addresses } from './addresses.ts'
import { namesHost, parseEgressRule, ruleApplies, ruleOpens } from './egress-entry.ts'
import type { EgressRule } from './egress-entry.ts'

/**
 * Which addresses functions may reach. Public ones, unless `deny` names them; of the others only what `allow` names.
 * Checked on the address that is connected to: after DNS, on every attempt, on every redirect.
 */
export interface Egress {
  /** Entries: an address, a network (`10.1.0.0/16`), a host name or `*.name`; each with or without `:port`. */
  allow: string[]
  deny: string[]
  /** Ports that the host itself listens on: closed on this machine's addresses, save where `allow` names the port, too. */
  ownPorts?: number[]
}

/** Names of metadata services. Their addresses are special anyway; nobody is to be asked for them either. */
const METADATA_NAMES = new Set([
  'metadata',
  'metadata.google.internal',
  'metadata.goog',
  'instance-data',
  'instance-data.ec2.internal',
  'metadata.azure.internal',
  'metadata.tencentyun.com',
])

/** The fetch standard's blocked ports: no HTTP server is there, but servers that a request could talk to by accident. */
const BLOCKED_PORTS = new Set([
  ...[1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110, 111],
  ...[113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548],
  ...[554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566],
  ...[6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080],
])

/** How long this machine's addresses are taken for known, ms: reading them costs some 50 µs. */
const OWN_FOR = 1_000

/** What is given for tests. */
export interface Surroundings {
  interfaces: () => ReturnType<typeof networkInterfaces>
  now: () => number
}

interface Lists {
  allow: EgressRule[]
  deny: EgressRule[]
}

/** The host's lists, and this machine's addresses. */
export class EgressRules {
  readonly #host: Lists
  readonly #ownPorts: ReadonlySet<number>
  readonly #surroundings: Surroundings
  #own = new Addresses()
  #ownUntil = -Infinity
  /** By the tenant's lists as text: they are the operator's, so there are few. */
  readonly #reaches = new Map<string, Reach>()

  constructor(egress: Egress, surroundings: Surroundings = { interfaces: networkInterfaces, now: () => performance.now() }) {
    this.#host = compile(egress)
    this.#ownPorts = new Set(egress.ownPorts)
    this.#surroundings = surroundings
  }

  /** What one tenant may reach. Lists are compiled once, however many tenants and sandboxes have them. */
  forTenant(lists: Egress): Reach {
    const key = JSON.stringify([lists.allow, lists.deny])
    let reach = this.#reaches.get(key)
    if (reach === undefined) {
      reach = new Reach(this, this.#host, compile(lists))
      this.#reaches.set(key, reach)
    }
    return reach
  }

  /** An address of this machine, which may be a public one: its other services are nobody's to reach from inside. */
  isOwn(plain: string): boolean {
    const now = this.#surroundings.now()
    if (now >= this.#ownUntil) {
      this.#ownUntil = now + OWN_FOR
      const own = Object.values(this.#surroundings.interfaces()).flatMap((list) => list ?? [])
      this.#own = Addresses.of(own.map(({ address }) => plainAddress(address)))
    }
    return isLoopback(plain) || this.#own.has(plain)
  }

  isOwnPort(port: number): boolean {
    return this.#ownPorts.has(port)
  }
}

/** What the functions of one tenant may connect to. */
export class Reach {
  readonly #rules: EgressRules
  readonly #host: Lists
  readonly #tenant: Lists
  readonly #allow: EgressRule[]

  constructor(rules: EgressRules, host: Lists, tenant: Lists) {
    this.#rules = rules
    this.#host = host
    this.#tenant = tenant
    this.#allow = host.allow.concat(tenant.allow)
  }

  /**
   * Why this may not be connected to; '' when it may. `hostname` is what the function asked for. The operator's list for
   * all wins where it denies, then the one for the tenant; what either allows is open.
   */
  refusal(address: string, port: number, hostname: string): string {
    const plain = plainAddress(address)
    const host = plainName(hostname)
    const names = (rule: EgressRule) => ruleApplies(rule, plain, port, host)
    if (this.#host.deny.some(names)) return `${hostname}:${port} is denied by the operator`
    if (this.#tenant.deny.some(names)) return `${hostname}:${port} is denied to this tenant`
    const opening = this.#allow.filter((rule) => ruleOpens(rule, plain, port, host))
    if (opening.some((rule) => rule.port !== undefined)) return ''
    const isOwn = this.#rules.isOwn(plain)
    if (isOwn && this.#rules.isOwnPort(port)) return `${hostname}:${port} is this host itself`
    if (BLOCKED_PORTS.has(port)) return `port ${port} is not for HTTP`
    return opening.length === 0 && (isOwn || isSpecial(plain)) ? `${hostname} is not a public address` : ''
  }

  /** Why not even DNS is asked for a name. */
  refusesName(hostname: string, port: number): string {
    const host = plainName(hostname)
    const names = (rule: EgressRule) => (rule.port === undefined || rule.port === port) && namesHost(rule, host)
    if (this.#host.deny.some(names)) return `${hostname}:${port} is denied by the operator`
    if (this.#tenant.deny.some(names)) return `${hostname}:${port} is denied to this tenant`
    if (METADATA_NAMES.has(host) && !this.#allow.some((rule) => names(rule) && !rule.isWildcard))
      return `${hostname} is not a public address`
    return ''
  }
}

/** `example.com.` is `example.com`. */
export function plainName(hostname: string): string {
  return hostname.toLowerCase().replace(/\.$/, '')
}

function compile(lists: Egress): Lists {
  return { allow: lists.allow.map(parseEgressRule), deny: lists.deny.map(parseEgressRule) }
}
