import type { Transform } from 'node:stream'
import { constants, createBrotliDecompress, createGunzip, createInflate, createInflateRaw, createZstdDecompress } from 'node:zlib'

/** Codings of an answer that are taken off, one after the other, at most. */
const MOST_CODINGS = 2

interface Coding {
  /** Memory that its unpacking may take, bytes: what it looks back on, and buffers. */
  window: number
  /** `first`: the first byte that arrived. */
  create(first: number): Transform
}

// What comes early is handed on early, and an answer that breaks off gives what it had: as browsers and curl do.
const lenient = { flush: constants.Z_SYNC_FLUSH, finishFlush: constants.Z_SYNC_FLUSH }
const gzip: Coding = { window: 65_536, create: () => createGunzip(lenient) }
const CODINGS: Record<string, Coding> = {
  gzip,
  'x-gzip': gzip,
  // By the standard with zlib's header, by some servers without.
  deflate: { window: 65_536, create: (first) => ((first & 15) === 8 ? createInflate(lenient) : createInflateRaw(lenient)) },
  br: {
    window: 16_777_216,
    create: () =>
      createBrotliDecompress({ flush: constants.BROTLI_OPERATION_FLUSH, finishFlush: constants.BROTLI_OPERATION_FLUSH }),
  },
  // RFC 9659: in HTTP, 8 MB. The format itself would let a few bytes ask for 128 MB.
  zstd: {
    window: 8_388_608,
    create: () => createZstdDecompress({ params: { [constants.ZSTD_d_windowLogMax]: 23 } }),
  },
}

/** Codings in the order in which they are to be taken off; none where the body is to be left as it is. */
export function codingsOf(contentEncoding: string): string[] {
  const names = contentEncoding
    .toLowerCase()
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '' && name !== 'identity')
  if (!names.every((name) => Object.hasOwn(CODINGS, name))) return []
  if (names.length > MOST_CODINGS) throw new TypeError(`its body is packed ${names.length} times`)
  return names.reverse()
}

export function windowOf(codings: string[]): number {
  return codings.reduce((sum, name) => sum + CODINGS[name]!.window, 0)
}

export function createDecoder(coding: string, first: number): Transform {
  return CODINGS[coding]!.create(first)
}
