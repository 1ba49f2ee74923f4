/* oxlint-disable no-misleading-character-class -- single code points that nothing here combines */
import {
  arrayPush,
  charCodeAt,
  codePointAt,
  fromCharCode,
  fromCodePoint,
  matches,
  stringIndexOf,
  stringLastIndexOf,
  stringNormalize,
  stringSlice,
  stringStartsWith,
  stringToLowerCase,
} from './primordials.ts'

/**
 * Domain to ASCII (UTS #46, non-transitional) without its table, which would be the largest thing in the snapshot: V8's own
 * Unicode data (NFKC, case, `\p{…}`) gives the same answer for what is assigned and in use. Where the two differ is in
 * what they refuse: bidirectional rules go by script, and some obsolete characters pass.
 */

/** Mapped to nothing, as far as they may appear at all. */
const IGNORED =
  /[\p{DI}--[\u200c\u200d\u115f\u1160\u3164\uffa0\u17b4\u17b5\u061c\u200e\u200f\u202a-\u202e\u2061-\u2063\u2066-\u206f\u{e0000}-\u{e007f}]]/v
const DOT = /[\u3002\uff0e\uff61]/u
/** Not valid in any label. `\p{C}` has the controls, formats, surrogates, private use and the unassigned. */
const INVALID =
  /(?![\u200c\u200d])[\p{C}\p{Z}\ufff9-\uffff\u2ff0-\u2fff\p{Lu}\u2028\u2029\p{Noncharacter_Code_Point}\u{e0000}-\u{e0fff}]/u
const STARTS_WITH_MARK = /^\p{M}/u
const ASCII = /^[\0-\x7f]*$/
const RTL =
  /[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}\p{Script=Samaritan}\p{Script=Mandaic}\p{Script=Adlam}\p{Script=Hanifi_Rohingya}\p{Script=Mende_Kikakui}\p{Script=Cypriot}\p{Script=Phoenician}\p{Script=Imperial_Aramaic}]/u
const RTL_LETTER = /^(?=\p{L})/u
const LTR_LETTER =
  /[A-Za-z\p{Script=Latin}\p{Script=Greek}\p{Script=Cyrillic}\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Thai}\p{Script=Devanagari}\p{Script=Armenian}\p{Script=Georgian}]/u
const RTL_END = /[\p{L}\p{Nd}]\p{Mn}*$/u
const VIRAMA =
  /[\u094d\u09cd\u0a4d\u0acd\u0b4d\u0bcd\u0c4d\u0ccd\u0d3b\u0d3c\u0d4d\u0dca\u0e3a\u0eba\u0f84\u1039\u103a\u1714\u1734\u17d2\u1a60\u1b44\u1baa\u1bab\u1bf2\u1bf3\u2d7f\ua806\ua8c4\ua953\ua9c0\uaaf6\uabed]$/u
const JOINS_AFTER = /[\p{Script=Arabic}\p{Script=Syriac}\p{Script=Mongolian}]\p{Mn}*$/u
const JOINS_BEFORE = /^\p{Mn}*[\p{Script=Arabic}\p{Script=Syriac}\p{Script=Mongolian}]/u

export function domainToAscii(domain: string): string | null {
  const ascii = matches(ASCII, domain)
  const lower = ascii ? stringToLowerCase(domain) : map(domain)
  if (ascii && !stringStartsWith(lower, 'xn--') && stringIndexOf(lower, '.xn--') < 0) return lower
  const labels: string[] = []
  for (let start = 0; start <= lower.length;) {
    let end = stringIndexOf(lower, '.', start)
    if (end < 0) end = lower.length
    arrayPush(labels, stringSlice(lower, start, end))
    start = end + 1
  }
  const unicode: string[] = []
  let bidi = false
  for (let i = 0; i < labels.length; i++) {
    const label = toUnicode(labels[i]!)
    if (label === null) return null
    arrayPush(unicode, label)
    if (matches(RTL, label)) bidi = true
  }
  let result = ''
  for (let i = 0; i < labels.length; i++) {
    const label = unicode[i]!
    if (bidi && !isBidiValid(label)) return null
    const encoded = matches(ASCII, label) ? label : punycodeEncode(label)
    if (encoded === null) return null
    result += (i > 0 ? '.' : '') + encoded
  }
  return result
}

/** One ASCII-compatible label decoded and checked, or another checked. */
function toUnicode(label: string): string | null {
  if (!stringStartsWith(label, 'xn--')) return matches(ASCII, label) || isValid(label) ? label : null
  if (!matches(ASCII, label)) return null
  const decoded = punycodeDecode(stringSlice(label, 4))
  // What was encoded must be what encoding would have taken: mapped, normalised and not ASCII.
  if (decoded === null || matches(ASCII, decoded) || map(decoded) !== decoded || !isValid(decoded)) return null
  return decoded
}

function map(text: string): string {
  let result = ''
  const length = text.length
  const composed = fold(stringNormalize(fold(stringNormalize(text, 'NFKC')), 'NFKC'))
  for (let i = 0; i < composed.length;) {
    const character = fromCodePoint(codePointAt(composed, i)!)
    i += character.length
    if (matches(IGNORED, character)) continue
    result += matches(DOT, character) ? '.' : character
  }
  return length === 0 ? '' : stringNormalize(result, 'NFC')
}

/** One character at a time: lower-casing a whole string treats the last sigma of a word apart. */
function fold(text: string): string {
  let result = ''
  for (let i = 0; i < text.length;) {
    const character = fromCodePoint(codePointAt(text, i)!)
    i += character.length
    result += character === '\u0345' ? '\u03b9' : stringToLowerCase(character)
  }
  return result
}

function isValid(label: string): boolean {
  if (matches(INVALID, label) || matches(STARTS_WITH_MARK, label)) return false
  for (let i = 0; i < label.length; i++) {
    const unit = charCodeAt(label, i)
    if (unit !== 0x200c && unit !== 0x200d) continue
    const before = stringSlice(label, 0, i)
    if (matches(VIRAMA, before)) continue
    if (unit === 0x200d || !matches(JOINS_AFTER, before) || !matches(JOINS_BEFORE, stringSlice(label, i + 1))) return false
  }
  return true
}

function isBidiValid(label: string): boolean {
  if (label === '') return true
  if (!matches(RTL, label)) return !matches(/^\p{Nd}/u, label) || matches(ASCII, label)
  const first = fromCodePoint(codePointAt(label, 0)!)
  return matches(RTL, first) && matches(RTL_LETTER, first) && !matches(LTR_LETTER, label) && matches(RTL_END, label)
}

const BASE = 36
const TMIN = 1
const TMAX = 26

function adapt(delta: number, points: number, first: boolean): number {
  let d = first ? (delta / 700) | 0 : delta >> 1
  d += (d / points) | 0
  let k = 0
  for (; d > ((BASE - TMIN) * TMAX) >> 1; k += BASE) d = (d / (BASE - TMIN)) | 0
  return (k + ((BASE - TMIN + 1) * d) / (d + 38)) | 0
}

function threshold(k: number, bias: number): number {
  return k <= bias ? TMIN : k >= bias + TMAX ? TMAX : k - bias
}

function digit(value: number): string {
  return fromCharCode(value < 26 ? value + 97 : value + 22)
}

/** RFC 3492, with its `xn--`. */
function punycodeEncode(label: string): string | null {
  const points: number[] = []
  let output = ''
  for (let i = 0; i < label.length;) {
    const point = codePointAt(label, i)!
    i += point > 0xffff ? 2 : 1
    arrayPush(points, point)
    if (point < 0x80) output += fromCharCode(point)
  }
  const basic = output.length
  if (basic > 0) output += '-'
  let n = 128
  let delta = 0
  let bias = 72
  // Quadratic, and not to be interrupted by anything but the CPU limit: no domain label is this long.
  if (points.length > 4096) return null
  for (let handled = basic; handled < points.length;) {
    let next = 0x110000
    for (let i = 0; i < points.length; i++) if (points[i]! >= n && points[i]! < next) next = points[i]!
    delta += (next - n) * (handled + 1)
    n = next
    for (let i = 0; i < points.length; i++) {
      if (points[i]! < n) delta++
      if (points[i] !== n) continue
      let q = delta
      for (let k = BASE; ; k += BASE) {
        const t = threshold(k, bias)
        if (q < t) break
        output += digit(t + ((q - t) % (BASE - t)))
        q = ((q - t) / (BASE - t)) | 0
      }
      output += digit(q)
      bias = adapt(delta, handled + 1, handled === basic)
      delta = 0
      handled++
    }
    delta++
    n++
  }
  return 'xn--' + output
}

function punycodeDecode(text: string): string | null {
  if (text === '' || text.length > 8192) return null
  const points: number[] = []
  const basic = stringLastIndexOf(text, '-')
  for (let i = 0; i < basic; i++) arrayPush(points, charCodeAt(text, i))
  let n = 128
  let bias = 72
  let at = 0
  for (let i = basic < 0 ? 0 : basic + 1; i < text.length;) {
    const before = at
    let weight = 1
    for (let k = BASE; ; k += BASE) {
      const unit = charCodeAt(text, i++)
      const value = unit >= 97 && unit < 123 ? unit - 97 : unit >= 48 && unit < 58 ? unit - 22 : BASE
      if (value === BASE) return null
      at += value * weight
      if (at > 0x7fffffff) return null
      const t = threshold(k, bias)
      if (value < t) break
      weight *= BASE - t
    }
    const count = points.length + 1
    bias = adapt(at - before, count, before === 0)
    n += (at / count) | 0
    at %= count
    if (n > 0x10ffff || (n >= 0xd800 && n < 0xe000)) return null
    arrayPush(points, 0)
    for (let k = points.length - 1; k > at; k--) points[k] = points[k - 1]!
    points[at++] = n
  }
  let result = ''
  for (let i = 0; i < points.length; i++) result += fromCodePoint(points[i]!)
  return result
}
