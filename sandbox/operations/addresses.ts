import { BlockList, isIP } from 'node:net'

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
  '192.31.196.0/24',
  '192.52.193.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '192.175.48.0/24',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/3',
]
/** Everything but global unicast (2000::/3), and what in it is special or wraps an IPv4 address. */
const SPECIAL_IPV6 = ['::/3', '4000::/2', '8000::/1', '2001::/23', '2001:db8::/32', '2002::/16', '2620:4f:8000::/48', '3fff::/20']

/** Networks that an organisation numbers itself: no loopback, link-local or metadata address is in them. */
const PRIVATE = ['10.0.0.0/8', '100.64.0.0/10', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7']
/** A metadata service's addresses within those networks: Alibaba's and Amazon's. */
const METADATA = ['100.100.100.200/32', 'fd00:ec2::/32']

/** Networks of both families, apart: one list of Node's takes an IPv4 address for the mapped one, which `::/3` contains. */
export class Addresses {
  readonly #ipv4 = new BlockList()
  readonly #ipv6 = new BlockList()

  static of(networks: Iterable<string>): Addresses {
    const addresses = new Addresses()
    for (const network of networks) addresses.add(network)
    return addresses
  }

  /** Throws for what is no address or network. */
  add(network: string): void {
    const [address, bits] = network.split('/') as [string, string | undefined]
    const plain = isIP(address) === 6 && bits === undefined ? plainAddress(address) : address
    if (isIP(plain) === 6) this.#ipv6.addSubnet(plain, bits === undefined ? 128 : Number(bits), 'ipv6')
    else this.#ipv4.addSubnet(plain, bits === undefined ? 32 : Number(bits), 'ipv4')
  }

  /** `address` is plain (`plainAddress`). */
  has(address: string): boolean {
    return isIP(address) === 6 ? this.#ipv6.check(address, 'ipv6') : this.#ipv4.check(address, 'ipv4')
  }
}

const special = Addresses.of(SPECIAL_IPV4.concat(SPECIAL_IPV6))
const privateNetworks = Addresses.of(PRIVATE)
const metadata = Addresses.of(METADATA)
const loopback = Addresses.of(['127.0.0.0/8', '0.0.0.0/8', '::/127'])

/** Not for the public: reserved, private, local, or the wrapping of such an address. */
export function isSpecial(plain: string): boolean {
  if (special.has(plain)) return true
  const isatap = isIP(plain) === 6 ? isatapAddress(plain) : undefined
  return isatap !== undefined && special.has(isatap)
}

export function isPrivateNetwork(plain: string): boolean {
  return privateNetworks.has(plain) && !metadata.has(plain)
}

/** Loopback, and the unspecified address, by which a connection also gets there. */
export function isLoopback(plain: string): boolean {
  return loopback.has(plain)
}

/**
 * An address without its zone, and one of IPv4 in IPv6 as IPv4: `::ffff:…`, which dials it, and `64:ff9b::…` of a public
 * address, by which a machine that has IPv6 alone reaches it (NAT64).
 */
export function plainAddress(address: string): string {
  const bare = address.replace(/%.*$/, '')
  if (isIP(bare) !== 6) return bare
  const groups = groupsOf(bare)
  const isZero = (from: number, to: number) => groups.slice(from, to).every((group) => group === 0)
  if (groups[5] === 0xffff && isZero(0, 5)) return dotted(groups)
  const isTranslated = groups[0] === 0x64 && groups[1] === 0xff9b && isZero(2, 6) && !special.has(dotted(groups))
  return isTranslated ? dotted(groups) : bare
}

/** The IPv4 address that an interface identifier of ISATAP (RFC 5214) holds, under any prefix. */
function isatapAddress(address: string): string | undefined {
  const groups = groupsOf(address)
  return groups[5] === 0x5efe && (groups[4]! & 0xfcff) === 0 ? dotted(groups) : undefined
}

function dotted(groups: number[]): string {
  const [high, low] = [groups[6]!, groups[7]!]
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`
}

/** The eight groups of an IPv6 address that `isIP` knows. */
function groupsOf(address: string): number[] {
  const tail = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address)
  const hex = (high: string, low: string) => (Number(high) * 256 + Number(low)).toString(16)
  const text = tail === null ? address : `${tail[1]}${hex(tail[2]!, tail[3]!)}:${hex(tail[4]!, tail[5]!)}`
  const [before, after] = text.split('::') as [string, string | undefined]
  const read = (part: string | undefined) =>
    part === undefined || part === '' ? [] : part.split(':').map((group) => parseInt(group, 16))
  const [first, last] = [read(before), read(after)]
  return after === undefined ? first : [...first, ...Array<number>(8 - first.length - last.length).fill(0), ...last]
}
