import { fromCharCode, reflectApply, typedArrayLength } from './primordials.ts'

const Units = Uint16Array
const CHUNK = 2048

export interface Utf8State {
  /** Continuation bytes that are still due. */
  needed: number
  code: number
  /** The range of the next continuation byte: it excludes overlong forms, surrogates and what is past U+10FFFF. */
  lower: number
  upper: number
}

export function newUtf8State(): Utf8State {
  return { needed: 0, code: 0, lower: 0x80, upper: 0xbf }
}

let scratch: Uint16Array | null = null
let scratchBuffer: ArrayBuffer | null = null

/** Room for `CHUNK` code units and a surrogate pair more. Made late: it need not be in the snapshot. Nothing here yields, so one will do. */
export function takeScratch(): Uint16Array {
  if (scratch === null) {
    scratchBuffer = new ArrayBuffer(2 * CHUNK + 4)
    scratch = new Units(scratchBuffer)
  }
  return scratch
}
export const SCRATCH_UNITS = CHUNK

export function scratchToString(length: number): string {
  return length === 0 ? '' : (reflectApply(fromCharCode, null, new Units(scratchBuffer!, 0, length)) as string)
}

export function malformed(): TypeError {
  return new TypeError('The encoded data was not valid.')
}

/** Replaces what is malformed and drops a byte order mark, as a body's `text()` does. */
export function utf8Decode(bytes: Uint8Array): string {
  const length = typedArrayLength(bytes)
  const start = length > 2 && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0
  return decodeUtf8(bytes, start, length, null, false, false)
}

/** With a state, an unfinished character at the end is kept in it; else, or with `flush`, it is malformed. */
export function decodeUtf8(
  bytes: Uint8Array,
  start: number,
  end: number,
  state: Utf8State | null,
  stream: boolean,
  fatal: boolean,
): string {
  let text = ''
  let i = start
  if (state === null || state.needed === 0) {
    i = asciiEnd(bytes, start, end)
    text = asciiPart
    if (i === end) return text
  }
  const units = takeScratch()
  let at = 0
  let needed = 0
  let code = 0
  let lower = 0x80
  let upper = 0xbf
  if (state !== null) ({ needed, code, lower, upper } = state)
  while (i < end) {
    const byte = bytes[i++]!
    if (needed === 0) {
      if (byte < 0x80) units[at++] = byte
      else if (byte >= 0xc2 && byte < 0xe0) {
        needed = 1
        code = byte & 0x1f
      } else if (byte >= 0xe0 && byte < 0xf0) {
        needed = 2
        code = byte & 0xf
        if (byte === 0xe0) lower = 0xa0
        else if (byte === 0xed) upper = 0x9f
      } else if (byte >= 0xf0 && byte < 0xf5) {
        needed = 3
        code = byte & 7
        if (byte === 0xf0) lower = 0x90
        else if (byte === 0xf4) upper = 0x8f
      } else {
        if (fatal) throw malformed()
        units[at++] = 0xfffd
      }
    } else if (byte < lower || byte > upper) {
      if (fatal) throw malformed()
      units[at++] = 0xfffd
      needed = 0
      lower = 0x80
      upper = 0xbf
      i--
    } else {
      lower = 0x80
      upper = 0xbf
      code = (code << 6) | (byte & 63)
      if (--needed === 0) {
        if (code > 0xffff) {
          units[at++] = 0xd7c0 + (code >> 10)
          units[at++] = 0xdc00 + (code & 0x3ff)
        } else {
          units[at++] = code
        }
      }
    }
    if (at >= CHUNK) {
      text += scratchToString(at)
      at = 0
    }
  }
  if (needed > 0 && !stream) {
    if (fatal) throw malformed()
    units[at++] = 0xfffd
    needed = 0
    lower = 0x80
    upper = 0xbf
  }
  if (state !== null) {
    state.needed = needed
    state.code = code
    state.lower = lower
    state.upper = upper
  }
  return text + scratchToString(at)
}

/** What `asciiEnd` read. */
let asciiPart = ''

/** Sixteen bytes a call: measured faster than `fromCharCode` over a typed array, and than one byte at a time. */
function asciiEnd(bytes: Uint8Array, start: number, end: number): number {
  const from = fromCharCode
  let text = ''
  let i = start
  // prettier-ignore
  for (const last = end - 15; i < last; i += 16) {
    const a = bytes[i]!, b = bytes[i + 1]!, c = bytes[i + 2]!, d = bytes[i + 3]!
    const e = bytes[i + 4]!, f = bytes[i + 5]!, g = bytes[i + 6]!, h = bytes[i + 7]!
    const j = bytes[i + 8]!, k = bytes[i + 9]!, l = bytes[i + 10]!, m = bytes[i + 11]!
    const n = bytes[i + 12]!, o = bytes[i + 13]!, p = bytes[i + 14]!, q = bytes[i + 15]!
    if ((a | b | c | d | e | f | g | h | j | k | l | m | n | o | p | q) > 0x7f) break
    text += from(a, b, c, d, e, f, g, h, j, k, l, m, n, o, p, q)
  }
  for (; i < end && bytes[i]! < 0x80 && end - i < 16; i++) text += from(bytes[i]!)
  asciiPart = text
  return i
}
