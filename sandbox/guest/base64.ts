import { charCodeAt, fromCharCode } from './primordials.ts'
import { DOMException } from './dom-exception.ts'
import { requireArguments, toDOMString } from './webidl.ts'

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
/** Value of each ASCII character; 64 for those of other kinds, 65 for white space. */
const VALUES = new Uint8Array(128)
for (let i = 0; i < 128; i++) VALUES[i] = 64
for (let i = 0; i < 64; i++) VALUES[ALPHABET.charCodeAt(i)] = i
for (const space of [9, 10, 12, 13, 32]) VALUES[space] = 65

export function btoa(data: string): string {
  requireArguments(arguments.length, 1, 'btoa')
  const text = toDOMString(data)
  const length = text.length
  let result = ''
  for (let i = 0; i < length; i += 3) {
    const a = charCodeAt(text, i)
    const b = i + 1 < length ? charCodeAt(text, i + 1) : 0
    const c = i + 2 < length ? charCodeAt(text, i + 2) : 0
    if ((a | b | c) > 255) {
      throw new DOMException('The string to be encoded contains characters outside of the Latin1 range.', 'InvalidCharacterError')
    }
    result += ALPHABET[a >> 2]! + ALPHABET[((a & 3) << 4) | (b >> 4)]!
    result += (i + 1 < length ? ALPHABET[((b & 15) << 2) | (c >> 6)]! : '=') + (i + 2 < length ? ALPHABET[c & 63]! : '=')
  }
  return result
}

/** Forgiving: white space is skipped, padding may be missing, but not be wrong. */
export function atob(data: string): string {
  requireArguments(arguments.length, 1, 'atob')
  const text = toDOMString(data)
  const length = text.length
  let result = ''
  let bits = 0
  let count = 0
  let padding = 0
  for (let i = 0; i < length; i++) {
    const unit = charCodeAt(text, i)
    const value = unit < 128 ? VALUES[unit]! : 64
    if (value === 65) continue
    if (unit === 61) {
      padding++
      continue
    }
    if (value > 63 || padding > 0) throw malformed()
    bits = (bits << 6) | value
    if ((++count & 3) === 0) {
      result += fromCharCode((bits >> 16) & 255, (bits >> 8) & 255, bits & 255)
      bits = 0
    }
  }
  const rest = count & 3
  if (rest === 1 || (padding > 0 && rest + padding !== 4)) throw malformed()
  if (rest === 2) result += fromCharCode((bits >> 4) & 255)
  else if (rest === 3) result += fromCharCode((bits >> 10) & 255, (bits >> 2) & 255)
  return result
}

function malformed(): DOMException {
  return new DOMException('The string to be decoded is not correctly encoded.', 'InvalidCharacterError')
}
