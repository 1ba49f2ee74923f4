import { charCodeAt, fromCharCode, stringIndexOf, stringSlice, typedArrayLength } from './primordials.ts'
import { utf8Encode } from './utf8-encode.ts'
import { utf8Decode } from './utf8-decode.ts'

/** Code points of ASCII to encode, by set; everything from 0x7f up is encoded in all of them, and controls. */
function encodeSet(characters: string): Uint8Array {
  const set = new Uint8Array(128)
  for (let i = 0; i < 32; i++) set[i] = 1
  set[127] = 1
  for (let i = 0; i < characters.length; i++) set[characters.charCodeAt(i)] = 1
  return set
}

export const C0_SET = encodeSet('')
export const FRAGMENT_SET = encodeSet(' "<>`')
export const QUERY_SET = encodeSet(' "#<>')
export const SPECIAL_QUERY_SET = encodeSet(' "#<>\'')
export const PATH_SET = encodeSet(' "#<>?^`{}')
export const USERINFO_SET = encodeSet(' "#<>?^`{}/:;=@[\\]|')
/** application/x-www-form-urlencoded: all but letters, digits and `*-._`; the space is written `+`. */
export const FORM_SET = encodeSet(' !"#$%&\'()+,/:;<=>?@[\\]^`{|}~')

const Bytes = Uint8Array
const HEX = '0123456789ABCDEF'

/** `text` is well formed. Characters that need nothing are taken in runs. */
export function percentEncode(text: string, set: Uint8Array, plus = false): string {
  const length = text.length
  let result = ''
  let done = 0
  for (let i = 0; i < length; i++) {
    const unit = charCodeAt(text, i)
    if (unit < 0x80 && set[unit] === 0) continue
    if (i > done) result += stringSlice(text, done, i)
    if (unit === 32 && plus) result += '+'
    else if (unit < 0x80) result += '%' + HEX[unit >> 4]! + HEX[unit & 15]!
    else {
      const end = unit >= 0xd800 && unit < 0xe000 ? i + 2 : i + 1
      const bytes = utf8Encode(stringSlice(text, i, end))
      for (let k = 0, n = typedArrayLength(bytes); k < n; k++) result += '%' + HEX[bytes[k]! >> 4]! + HEX[bytes[k]! & 15]!
      i = end - 1
    }
    done = i + 1
  }
  return done === 0 ? text : result + stringSlice(text, done)
}

export function hexValue(unit: number): number {
  if (unit >= 48 && unit < 58) return unit - 48
  const lower = unit | 32
  return lower >= 97 && lower < 103 ? lower - 87 : -1
}

/** Decodes `%xx`, and with `plus` each `+` as a space; what is not UTF-8 then is replaced. */
export function percentDecode(text: string, plus: boolean): string {
  const percent = stringIndexOf(text, '%')
  if (percent < 0) return plus ? plusToSpace(text) : text
  const bytes = utf8Encode(text)
  const length = typedArrayLength(bytes)
  let at = 0
  let ascii = true
  for (let i = 0; i < length; i++) {
    let byte = bytes[i]!
    if (byte === 37 && i + 2 < length) {
      const high = hexValue(bytes[i + 1]!)
      const low = hexValue(bytes[i + 2]!)
      if (high >= 0 && low >= 0) {
        byte = (high << 4) | low
        i += 2
      }
    } else if (byte === 43 && plus) byte = 32
    if (byte > 0x7f) ascii = false
    bytes[at++] = byte
  }
  if (ascii && at < 64) {
    let result = ''
    for (let i = 0; i < at; i++) result += fromCharCode(bytes[i]!)
    return result
  }
  // 'UTF-8 decode without BOM': a mark at the start is kept, so it is given twice and dropped once.
  const view = new Bytes(at + 3)
  view[0] = 0xef
  view[1] = 0xbb
  view[2] = 0xbf
  for (let i = 0; i < at; i++) view[i + 3] = bytes[i]!
  return utf8Decode(view)
}

function plusToSpace(text: string): string {
  let result = ''
  let done = 0
  for (let i = stringIndexOf(text, '+'); i >= 0; i = stringIndexOf(text, '+', done)) {
    result += stringSlice(text, done, i) + ' '
    done = i + 1
  }
  return done === 0 ? text : result + stringSlice(text, done)
}
