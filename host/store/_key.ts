import { SkepError } from '../errors.ts'

/**
 * The longest key, in bytes. S3 ends at 1,024 with the store's prefix; a file path ends at 4,096 with every byte written as
 * three. One number for both, so that a deployment moves from a folder to a bucket and back.
 */
export const MAX_KEY_BYTES = 768

/** The longest segment, in bytes: S3 servers that keep objects as files (MinIO) end at 255, and the store adds a mark. */
export const MAX_SEGMENT_BYTES = 250

/** First segment of the store's own objects (the writer's lease, scratch keys); nobody else's keys begin with it. */
export const OWN_SEGMENT = '.skep'

// oxlint-disable-next-line no-control-regex -- control characters are what it looks for
const CONTROL = /[\u0000-\u001f\u007f]/

/** Refuses what would leave the store's folder, split in two, or not survive UTF-8. */
export function assertKey(key: string): void {
  checkText(key, 'key')
  const segments = key.split('/')
  if (segments.some((segment) => segment === '' || segment === '.' || segment === '..')) {
    throw refused('key', key, 'its segments must not be empty, "." or ".."')
  }
  if (segments[0] === OWN_SEGMENT) throw refused('key', key, `"${OWN_SEGMENT}/" is the store's own`)
}

/** As a key, but the last segment may be a part of one, or empty: `''`, `routes/`, `routes/a`. */
export function assertPrefix(prefix: string): void {
  checkText(prefix, 'prefix')
  const segments = prefix.split('/')
  if (segments.some((segment, i) => (segment === '' && i < segments.length - 1) || segment === '.' || segment === '..')) {
    throw refused('prefix', prefix, 'its segments must not be empty, "." or ".."')
  }
}

function checkText(text: string, what: string): void {
  if (typeof text !== 'string') throw new SkepError('invalid_request', `A store's ${what} is a string, not ${typeof text}.`)
  if (CONTROL.test(text)) throw refused(what, text, 'it has a control character')
  if (!text.isWellFormed()) throw refused(what, text, 'it has half of a surrogate pair')
  if (Buffer.byteLength(text) > MAX_KEY_BYTES) throw refused(what, text, `it is longer than ${MAX_KEY_BYTES} bytes`)
  if (text.split('/').some((segment) => Buffer.byteLength(segment) > MAX_SEGMENT_BYTES)) {
    throw refused(what, text, `a segment is longer than ${MAX_SEGMENT_BYTES} bytes`)
  }
}

function refused(what: string, text: string, why: string): SkepError {
  return new SkepError('invalid_request', `The store's ${what} ${JSON.stringify(text.slice(0, 200))} is refused: ${why}.`)
}

/** Order of the UTF-8 bytes. UTF-16 order differs in one thing: surrogates stand before U+E000 to U+FFFF. */
export function compareKeys(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i)
    const y = b.charCodeAt(i)
    if (x !== y) return utf8Rank(x) - utf8Rank(y)
  }
  return a.length - b.length
}

function utf8Rank(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit
}

/** Bounds of a page, the same in every store. */
export function pageLimit(limit: number | undefined): number {
  if (limit === undefined) return 1_000
  if (!Number.isInteger(limit) || limit < 1)
    throw new SkepError('invalid_request', `A page's limit is a positive number, not ${limit}.`)
  return Math.min(limit, 1_000)
}
