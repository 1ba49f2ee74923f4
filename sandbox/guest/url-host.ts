import {
  charCodeAt,
  mathFloor,
  matches,
  numberToString,
  stringEndsWith,
  stringIndexOf,
  stringSlice,
  stringToLowerCase,
} from './primordials.ts'
import { C0_SET, hexValue, percentDecode, percentEncode } from './percent.ts'
import { domainToAscii } from './url-idna.ts'

const PLAIN_DOMAIN = /^[a-z0-9_.-]+$/
const ACE = /^xn--|\.xn--/
const FORBIDDEN_HOST = /[\0\t\n\r #/:<>?@[\\\]^|]/
const FORBIDDEN_DOMAIN = /[\0-\x20#%/:<>?@[\\\]^|\x7f]/

/** The host, serialised; null when it is invalid. */
export function parseHost(text: string, opaque: boolean): string | null {
  if (text[0] === '[') {
    if (!stringEndsWith(text, ']')) return null
    return parseIpv6(stringSlice(text, 1, -1))
  }
  if (opaque) return matches(FORBIDDEN_HOST, text) ? null : percentEncode(text, C0_SET)
  let domain: string | null = text
  if (!matches(PLAIN_DOMAIN, text) || matches(ACE, text)) {
    domain = domainToAscii(percentDecode(text, false))
    if (domain === null || domain === '' || matches(FORBIDDEN_DOMAIN, domain)) return null
  }
  return endsInNumber(domain) ? parseIpv4(domain) : domain
}

const DIGITS = /^[0-9]+$/
const NUMBER = /^(?:[0-9]+|0[xX][0-9a-fA-F]*)$/

/** The last label, not counting one empty label behind it. */
function endsInNumber(domain: string): boolean {
  let end = domain.length
  if (domain[end - 1] === '.') end--
  if (end === 0) return false
  let start = end
  while (start > 0 && charCodeAt(domain, start - 1) !== 46) start--
  const first = charCodeAt(domain, start)
  if (start === end || first < 48 || first > 57) return false
  const last = stringSlice(domain, start, end)
  return matches(DIGITS, last) || matches(NUMBER, last)
}

function parseIpv4(domain: string): string | null {
  const length = domain[domain.length - 1] === '.' ? domain.length - 1 : domain.length
  let address = 0
  let parts = 0
  let start = 0
  while (start <= length) {
    let end = stringIndexOf(domain, '.', start)
    if (end < 0 || end > length) end = length
    const value = parseIpv4Number(stringSlice(domain, start, end))
    if (value < 0 || ++parts > 4) return null
    if (end === length) {
      // The last part fills what is left of the address.
      const room = 256 ** (5 - parts)
      if (value >= room) return null
      address += value
    } else {
      if (value > 255) return null
      address += value * 256 ** (4 - parts)
    }
    start = end + 1
  }
  const byte = (shift: number): string => numberToString(mathFloor(address / shift) % 256)
  return byte(16777216) + '.' + byte(65536) + '.' + byte(256) + '.' + byte(1)
}

/** Decimal, octal after 0, hexadecimal after 0x; -1 when it is none of them. */
function parseIpv4Number(text: string): number {
  const length = text.length
  if (length === 0) return -1
  let radix = 10
  let i = 0
  if (length > 1 && text[0] === '0') {
    radix = text[1] === 'x' || text[1] === 'X' ? 16 : 8
    i = radix === 16 ? 2 : 1
  }
  let value = 0
  for (; i < length; i++) {
    const digit = hexValue(charCodeAt(text, i))
    if (digit < 0 || digit >= radix) return -1
    value = value * radix + digit
  }
  return value
}

function parseIpv6(text: string): string | null {
  const pieces = [0, 0, 0, 0, 0, 0, 0, 0]
  const length = text.length
  let count = 0
  let compress = -1
  let i = 0
  if (text[0] === ':') {
    if (text[1] !== ':') return null
    i = 2
    compress = ++count
  }
  while (i < length) {
    if (count === 8) return null
    if (text[i] === ':') {
      if (compress >= 0) return null
      i++
      compress = ++count
      continue
    }
    const start = i
    let value = 0
    for (let digit; i < length && i - start < 4 && (digit = hexValue(charCodeAt(text, i))) >= 0; i++) value = value * 16 + digit
    if (text[i] === '.') {
      if (i === start || count > 6) return null
      if (!parseEmbeddedIpv4(text, start, pieces, count)) return null
      count += 2
      break
    }
    if (text[i] === ':') {
      if (++i >= length) return null
    } else if (i < length) return null
    pieces[count++] = value
  }
  if (compress >= 0) {
    let swaps = count - compress
    for (let k = 7; k !== 0 && swaps > 0; k--, swaps--) {
      const from = compress + swaps - 1
      const piece = pieces[k]!
      pieces[k] = pieces[from]!
      pieces[from] = piece
    }
  } else if (count !== 8) return null
  return '[' + serializeIpv6(pieces) + ']'
}

/** Four plain decimal numbers to the end of the text, into two pieces. */
function parseEmbeddedIpv4(text: string, start: number, pieces: number[], at: number): boolean {
  let i = start
  let seen = 0
  while (i < text.length) {
    if (seen > 0) {
      if (text[i] !== '.' || seen === 4) return false
      i++
    }
    let value = -1
    for (; i < text.length; i++) {
      const digit = charCodeAt(text, i) - 48
      if (digit < 0 || digit > 9) break
      if (value === 0) return false
      value = value < 0 ? digit : value * 10 + digit
      if (value > 255) return false
    }
    if (value < 0) return false
    const piece = at + (seen >> 1)
    pieces[piece] = pieces[piece]! * 256 + value
    seen++
  }
  return seen === 4
}

function serializeIpv6(pieces: number[]): string {
  let longest = 1
  let longestAt = -1
  for (let i = 0; i < 8; i++) {
    let run = 0
    while (i + run < 8 && pieces[i + run] === 0) run++
    if (run > longest) {
      longest = run
      longestAt = i
    }
    if (run > 0) i += run - 1
  }
  let text = ''
  for (let i = 0; i < 8; i++) {
    if (i === longestAt) {
      text += i === 0 ? '::' : ':'
      i += longest - 1
      continue
    }
    text += stringToLowerCase(numberToString(pieces[i]!, 16))
    if (i < 7) text += ':'
  }
  return text
}
