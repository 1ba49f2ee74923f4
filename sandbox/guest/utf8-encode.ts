import { charCodeAt, typedArrayLength } from './primordials.ts'

const Bytes = Uint8Array

/** Never null-terminated or pooled: the array owns its whole buffer, so a body can be handed over as it is. */
export function utf8Encode(text: string): Uint8Array<ArrayBuffer> {
  const length = text.length
  const bytes = new Bytes(length)
  for (let i = 0; i < length; i++) {
    const unit = charCodeAt(text, i)
    if (unit > 0x7f) return encodeRest(text, bytes, i)
    bytes[i] = unit
  }
  return bytes
}

function encodeRest(text: string, ascii: Uint8Array, start: number): Uint8Array<ArrayBuffer> {
  const bytes = new Bytes(utf8Length(text, start))
  for (let i = 0; i < start; i++) bytes[i] = ascii[i]!
  utf8Write(text, bytes, start, start)
  return bytes
}

/** The length in bytes, given that what comes before `start` is ASCII. */
export function utf8Length(text: string, start = 0): number {
  const length = text.length
  let bytes = start
  for (let i = start; i < length; i++) {
    const unit = charCodeAt(text, i)
    if (unit < 0x80) bytes++
    else if (unit < 0x800) bytes += 2
    else if (unit >= 0xd800 && unit < 0xdc00 && i + 1 < length && isTrail(charCodeAt(text, i + 1))) {
      bytes += 4
      i++
    } else bytes += 3
  }
  return bytes
}

function isTrail(unit: number): boolean {
  return unit >= 0xdc00 && unit < 0xe000
}

/** Where `utf8Write` stopped reading. Module state, because nothing here yields. */
export let unitsRead = 0

/** Writes the whole characters that fit; answers where it stopped writing. */
export function utf8Write(text: string, bytes: Uint8Array, from: number, at: number): number {
  const length = text.length
  const end = typedArrayLength(bytes)
  let i = from
  for (; i < length; i++) {
    let code = charCodeAt(text, i)
    if (code < 0x80) {
      if (at >= end) break
      bytes[at++] = code
    } else if (code < 0x800) {
      if (at + 2 > end) break
      bytes[at++] = 0xc0 | (code >> 6)
      bytes[at++] = 0x80 | (code & 63)
    } else {
      const paired = code >= 0xd800 && code < 0xdc00 && i + 1 < length && isTrail(charCodeAt(text, i + 1))
      if (paired) {
        if (at + 4 > end) break
        code = 0x10000 + ((code - 0xd800) << 10) + (charCodeAt(text, ++i) - 0xdc00)
        bytes[at++] = 0xf0 | (code >> 18)
        bytes[at++] = 0x80 | ((code >> 12) & 63)
      } else {
        if (at + 3 > end) break
        if (code >= 0xd800 && code < 0xe000) code = 0xfffd
        bytes[at++] = 0xe0 | (code >> 12)
      }
      bytes[at++] = 0x80 | ((code >> 6) & 63)
      bytes[at++] = 0x80 | (code & 63)
    }
  }
  unitsRead = i
  return at
}
