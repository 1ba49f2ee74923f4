/** Addresses that functions must not reach, in every way in which somebody may write them. For tests that send nothing. */

/** First and last addresses of the special-purpose ranges, and what is known to answer within them. */
export const FORBIDDEN_ADDRESSES = `
  0.0.0.0 0.0.0.1 0.255.255.255 10.0.0.0 10.0.0.1 10.255.255.255 100.64.0.0 100.64.0.1 100.100.100.200 100.127.255.255
  127.0.0.0 127.0.0.1 127.0.0.53 127.1.2.3 127.255.255.255 168.63.129.16 169.254.0.0 169.254.169.253 169.254.169.254
  169.254.170.2 169.254.170.23 169.254.255.255 172.16.0.0 172.17.0.1 172.31.255.255 192.0.0.0 192.0.0.8 192.0.0.170
  192.0.0.192 192.0.0.255 192.0.2.0 192.0.2.255 192.31.196.1 192.52.193.1 192.88.99.0 192.88.99.255 192.168.0.0
  192.168.255.255 192.175.48.1 198.18.0.0 198.19.255.255 198.51.100.0 198.51.100.255 203.0.113.0 203.0.113.255 224.0.0.0
  224.0.0.251 239.255.255.255 240.0.0.0 255.255.255.254 255.255.255.255
  :: ::1 ::2 100::1 fc00:: fc00::1 fd00:ec2::254 fd00:ec2::23 fd20:ce::254 fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
  fe80:: fe80::1 febf::1 fec0::1 feff::1 ff00::1 ff01::1 ff02::1 ff02::fb ff05::2 ff0e::1 2001:db8:: 2001:db8:ffff::1
  2001::1 2001:2::1 2001:10::1 2001:20::1 2001:1ff::1 2620:4f:8000::1 3fff:: 3fff:fff::1 4000::1 5f00::1 8000::1 e000::1
`
  .trim()
  .split(/\s+/)

const SPELLED_OUT = [
  '127.0.0.1',
  '10.0.0.1',
  '169.254.169.254',
  '192.168.1.1',
  '172.16.0.1',
  '100.64.0.1',
  '0.0.0.0',
  '198.18.0.1',
]

/** Hosts of URLs that a parser takes for one of those addresses, by how they are written. */
export const NOTATIONS: { how: string; host: string }[] = SPELLED_OUT.flatMap((address) => {
  const bytes = address.split('.').map(Number) as [number, number, number, number]
  const [a, b, c, d] = bytes
  const whole = ((a * 256 + b) * 256 + c) * 256 + d
  const hex = (number: number, width = 1) => number.toString(16).padStart(width, '0')
  const high = hex(a * 256 + b)
  const low = hex(c * 256 + d)
  const all: Record<string, string> = {
    decimal: String(whole),
    octal: `0${whole.toString(8)}`,
    hexadecimal: `0x${hex(whole)}`,
    'hexadecimal with zeros': `0x${hex(whole, 12)}`,
    'hexadecimal in capitals': `0X${hex(whole, 8).toUpperCase()}`,
    'octal bytes': bytes.map((byte) => `0${byte.toString(8)}`).join('.'),
    'octal bytes with zeros': bytes.map((byte) => `000${byte.toString(8)}`).join('.'),
    'hexadecimal bytes': bytes.map((byte) => `0x${hex(byte)}`).join('.'),
    'mixed bytes': `0x${hex(a)}.${b}.0${c.toString(8)}.${d}`,
    'two parts': `${a}.${(b * 256 + c) * 256 + d}`,
    'two parts in hexadecimal': `0x${hex(a)}.0x${hex((b * 256 + c) * 256 + d)}`,
    'three parts': `${a}.${b}.${c * 256 + d}`,
    'a dot at the end': `${address}.`,
    'full-width digits': address.replace(/\d/g, (digit) => String.fromCodePoint(0xff10 + Number(digit))),
    'mathematical digits': address.replace(/\d/g, (digit) => String.fromCodePoint(0x1d7ce + Number(digit))),
    'circled digits': address.replace(/[1-9]/g, (digit) => String.fromCodePoint(0x2460 + Number(digit) - 1)),
    'ideographic dots': address.replaceAll('.', '。'),
    'full-width dots': address.replaceAll('.', '．'),
    'percent-encoded': [...address].map((character) => `%${hex(character.charCodeAt(0), 2)}`).join(''),
    'percent-encoded dots': address.replaceAll('.', '%2e'),
    'a soft hyphen within': address.replace('.', '\u00ad.'),
    'mapped, dotted': `[::ffff:${address}]`,
    'mapped, hexadecimal': `[::ffff:${high}:${low}]`,
    'mapped, in full': `[0:0:0:0:0:ffff:${high}:${low}]`,
    'mapped, in capitals': `[::FFFF:${high.toUpperCase()}:${low.toUpperCase()}]`,
    compatible: `[::${address}]`,
    translated: `[::ffff:0:${address}]`,
    NAT64: `[64:ff9b::${address}]`,
    'NAT64, hexadecimal': `[64:ff9b::${high}:${low}]`,
    'local NAT64': `[64:ff9b:1::${high}:${low}]`,
    '6to4': `[2002:${high}:${low}::1]`,
    Teredo: `[2001:0:4136:e378:8000:63bf:${hex(0xffff - (a * 256 + b))}:${hex(0xffff - (c * 256 + d))}]`,
    ISATAP: `[2606:4700::5efe:${high}:${low}]`,
    'ISATAP, globally unique': `[2606:4700::200:5efe:${high}:${low}]`,
  }
  return Object.entries(all).map(([how, host]) => ({ how: `${address}, ${how}`, host }))
})

/** Names that are this machine or a metadata service, whatever DNS says. */
export const FORBIDDEN_NAMES = `
  localhost LOCALHOST localhost. a.localhost a.b.localhost. %6cocalhost ｌｏｃａｌｈｏｓｔ metadata metadata.google.internal
  METADATA.google.internal. metadata.goog instance-data instance-data.ec2.internal metadata.azure.internal metadata.tencentyun.com
`
  .trim()
  .split(/\s+/)

/** URLs that are none, or none that may be fetched. */
export const INVALID_URLS = [
  ...[
    'http://[fe80::1%25eth0]/',
    'http://[fe80::1%eth0]/',
    'http://[::1',
    'http://::1/',
    'http://127.0.0.1\u0000/',
    'http://a\u0000b/',
  ],
  ...[
    'http://127.0.0.1%00/',
    'http://%00/',
    'http://256.256.256.256/',
    'http://0x100000000/',
    'http://4294967296/',
    'http://1.2.3.4.5/',
  ],
  ...[
    'http://127.0.0.1:99999/',
    'http://127.0.0.1:x/',
    'http://user@example.com/',
    'http://example.com:80@127.0.0.1/',
    'http://a:b@[::1]/',
  ],
  ...['http:///', 'http://', 'http://a b/', 'http://[::ffff:999.0.0.1]/', 'http://[127.0.0.1]/', 'http://09/', 'http://%zz/'],
  ...[
    'file:///etc/passwd',
    'data:text/plain,x',
    'blob:http://example.com/1',
    'ftp://example.com/',
    'ws://example.com/',
    'wss://example.com/',
  ],
  ...[
    'unix:/run/x',
    'gopher://127.0.0.1:70/',
    'javascript:1',
    'about:blank',
    'http+unix://%2frun%2fx/',
    'jar:http://example.com/!/',
    '',
  ],
]

export const PUBLIC_ADDRESSES = `
  1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 93.184.216.34 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.1 168.63.129.15
  169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.0.3.0 192.167.255.255 192.169.0.0 198.17.255.255
  198.20.0.0 198.51.99.255 198.51.101.0 203.0.112.255 203.0.114.0 223.255.255.255
  2000::1 2001:200::1 2001:4860:4860::8888 2003::1 2400:cb00::1 2606:4700:4700::1111 2a00:1450:4001::1 3ffe::1
`
  .trim()
  .split(/\s+/)
