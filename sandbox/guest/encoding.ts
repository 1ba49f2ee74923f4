import { bytesOf, hasOwn, charCodeAt, stringSlice, stringToLowerCase, typedArrayLength, typedArrayTag } from './primordials.ts'
import { defineInterface, toDictionary, toDOMString } from './webidl.ts'
import { unitsRead, utf8Encode, utf8Write } from './utf8-encode.ts'
import {
  SCRATCH_UNITS,
  type Utf8State,
  decodeUtf8,
  malformed,
  newUtf8State,
  scratchToString,
  takeScratch,
} from './utf8-decode.ts'

export { utf8Encode } from './utf8-encode.ts'
export { utf8Decode } from './utf8-decode.ts'

const NO_BYTES = new Uint8Array(0)
const REFUSED = 'The "input" argument must be an ArrayBuffer or a view of one.'

export class TextEncoder {
  #encoding = 'utf-8'
  get encoding(): string {
    return this.#encoding
  }
  encode(input: unknown = ''): Uint8Array<ArrayBuffer> {
    return this.#encode(toDOMString(input))
  }
  encodeInto(source: unknown, destination: Uint8Array): { read: number; written: number } {
    return this.#encodeInto(toDOMString(source), destination)
  }
  /** Private methods, so that another `this` is refused. */
  #encode(text: string): Uint8Array<ArrayBuffer> {
    return utf8Encode(text)
  }
  #encodeInto(text: string, destination: Uint8Array): { read: number; written: number } {
    if (typedArrayTag(destination) !== 'Uint8Array') throw new TypeError('The destination is not a Uint8Array.')
    const written = utf8Write(text, destination, 0, 0)
    return { read: unitsRead, written }
  }
}
defineInterface(TextEncoder)

type Encoding = 'utf-8' | 'utf-16le' | 'utf-16be' | 'windows-1252'

function labels(encoding: Encoding, list: string): Record<string, Encoding> {
  const result = { __proto__: null } as unknown as Record<string, Encoding>
  for (const label of list.split(' ')) result[label] = encoding
  return result
}

const LABELS: Record<string, Encoding> = {
  __proto__: null as never,
  ...labels('utf-8', 'unicode-1-1-utf-8 unicode11utf8 unicode20utf8 utf-8 utf8 x-unicode20utf8'),
  ...labels('utf-16le', 'csunicode iso-10646-ucs-2 ucs-2 unicode unicodefeff utf-16 utf-16le'),
  ...labels('utf-16be', 'unicodefffe utf-16be'),
  ...labels(
    'windows-1252',
    'ansi_x3.4-1968 ascii cp1252 cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100 iso8859-1 iso88591 iso_8859-1 iso_8859-1:1987 l1 latin1 us-ascii windows-1252 x-cp1252',
  ),
}

/** Windows-1252 from 0x80 to 0x9f; the rest of it is Latin-1. */
const WINDOWS_1252 =
  '\u20ac\x81\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\x8d\u017d\x8f\x90\u2018\u2019\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\x9d\u017e\u0178'

function findEncoding(label: string): Encoding {
  let start = 0
  let end = label.length
  while (start < end && isSpace(charCodeAt(label, start))) start++
  while (end > start && isSpace(charCodeAt(label, end - 1))) end--
  const name = stringToLowerCase(stringSlice(label, start, end))
  // The Kelvin sign is the one character that lower-cases into ASCII; no label has a 'k' that it could forge but the legacy ones.
  if (!hasOwn(LABELS, name)) throw new RangeError(`The encoding label provided ('${label}') is invalid.`)
  return LABELS[name]!
}

function isSpace(unit: number): boolean {
  return unit === 32 || unit === 9 || unit === 10 || unit === 12 || unit === 13
}

export class TextDecoder {
  #encoding: Encoding
  #fatal: boolean
  #ignoreBOM: boolean
  /** A byte order mark can still come. */
  #atStart = true
  /** The last call said that more follows. */
  #streaming = false
  #utf8: Utf8State | null = null
  /** UTF-16: the odd byte and the high surrogate that wait, or -1. */
  #byte = -1
  #lead = -1

  constructor(label: unknown = 'utf-8', options?: unknown) {
    this.#encoding = findEncoding(toDOMString(label))
    const { fatal, ignoreBOM } = toDictionary(options, 'TextDecoder options')
    this.#fatal = !!fatal
    this.#ignoreBOM = !!ignoreBOM
  }
  get encoding(): string {
    return this.#encoding
  }
  get fatal(): boolean {
    return this.#fatal
  }
  get ignoreBOM(): boolean {
    return this.#ignoreBOM
  }
  decode(input?: unknown, options?: unknown): string {
    let bytes: Uint8Array = NO_BYTES
    if (input !== undefined) {
      const given = bytesOf(input)
      if (given === null) throw new TypeError(REFUSED)
      bytes = given
    }
    const stream = !!toDictionary(options, 'TextDecoder.decode options').stream
    if (!this.#streaming) this.#reset()
    this.#streaming = stream
    try {
      return this.#decode(bytes, stream)
    } catch (error) {
      // What is left over from malformed input does not belong to the next.
      this.#reset()
      this.#streaming = false
      throw error
    }
  }

  #reset(): void {
    this.#atStart = true
    this.#utf8 = null
    this.#byte = this.#lead = -1
  }

  #decode(bytes: Uint8Array, stream: boolean): string {
    if (this.#encoding === 'windows-1252') return decodeWindows1252(bytes)
    let text: string
    if (this.#encoding === 'utf-8') {
      if (stream) this.#utf8 ??= newUtf8State()
      text = decodeUtf8(bytes, 0, typedArrayLength(bytes), this.#utf8, stream, this.#fatal)
    } else {
      text = this.#decode16(bytes, stream, this.#encoding === 'utf-16be')
    }
    if (!this.#atStart || text === '') return text
    this.#atStart = false
    return !this.#ignoreBOM && charCodeAt(text, 0) === 0xfeff ? stringSlice(text, 1) : text
  }

  #decode16(bytes: Uint8Array, stream: boolean, big: boolean): string {
    const units = takeScratch()
    const length = typedArrayLength(bytes)
    let text = ''
    let at = 0
    let lead = this.#lead
    let first = this.#byte
    for (let i = 0; i < length; i++) {
      const byte = bytes[i]!
      if (first < 0) {
        first = byte
        continue
      }
      const unit = big ? (first << 8) | byte : (byte << 8) | first
      first = -1
      if (lead >= 0) {
        const waiting = lead
        lead = -1
        if (unit >= 0xdc00 && unit < 0xe000) {
          units[at++] = waiting
          units[at++] = unit
          if (at >= SCRATCH_UNITS) {
            text += scratchToString(at)
            at = 0
          }
          continue
        }
        if (this.#fatal) throw malformed()
        units[at++] = 0xfffd
      }
      if (unit >= 0xd800 && unit < 0xdc00) lead = unit
      else if (unit >= 0xdc00 && unit < 0xe000) {
        if (this.#fatal) throw malformed()
        units[at++] = 0xfffd
      } else units[at++] = unit
      if (at >= SCRATCH_UNITS) {
        text += scratchToString(at)
        at = 0
      }
    }
    if (!stream && (first >= 0 || lead >= 0)) {
      if (this.#fatal) throw malformed()
      units[at++] = 0xfffd
      first = lead = -1
    }
    this.#byte = first
    this.#lead = lead
    return text + scratchToString(at)
  }
}
defineInterface(TextDecoder)

function decodeWindows1252(bytes: Uint8Array): string {
  const units = takeScratch()
  const length = typedArrayLength(bytes)
  let text = ''
  for (let i = 0; i < length;) {
    let at = 0
    for (; i < length && at < SCRATCH_UNITS; i++) {
      const byte = bytes[i]!
      units[at++] = byte > 0x7f && byte < 0xa0 ? charCodeAt(WINDOWS_1252, byte - 0x80) : byte
    }
    text += scratchToString(at)
  }
  return text
}
