import {
  isArrayBufferView,
  typedArrayBuffer,
  typedArrayByteLength,
  typedArrayByteOffset,
  typedArrayFill,
  typedArrayLength,
  typedArrayTag,
} from './primordials.ts'
import { DOMException } from './dom-exception.ts'
import { defineInterface, illegalConstructor, requireArguments } from './webidl.ts'

const Bytes = Uint8Array
const Words = Uint32Array

export interface Random {
  fill(bytes: Uint8Array): void
}

const CONSTANTS = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574] as const

/** RFC 8439's block function: key, counter and nonce in `state`'s words 4 to 15; sixteen words out, to be read little-endian. */
export function chachaBlock(state: Uint32Array, out: Uint32Array): void {
  for (let i = 0; i < 16; i++) out[i] = state[i]!
  for (let round = 0; round < 10; round++) {
    quarter(out, 0, 4, 8, 12)
    quarter(out, 1, 5, 9, 13)
    quarter(out, 2, 6, 10, 14)
    quarter(out, 3, 7, 11, 15)
    quarter(out, 0, 5, 10, 15)
    quarter(out, 1, 6, 11, 12)
    quarter(out, 2, 7, 8, 13)
    quarter(out, 3, 4, 9, 14)
  }
  for (let i = 0; i < 16; i++) out[i] = out[i]! + state[i]!
}

function quarter(x: Uint32Array, a: number, b: number, c: number, d: number): void {
  let A = x[a]! | 0
  let B = x[b]! | 0
  let C = x[c]! | 0
  let D = x[d]! | 0
  A = (A + B) | 0
  D ^= A
  D = (D << 16) | (D >>> 16)
  C = (C + D) | 0
  B ^= C
  B = (B << 12) | (B >>> 20)
  A = (A + B) | 0
  D ^= A
  D = (D << 8) | (D >>> 24)
  C = (C + D) | 0
  B ^= C
  B = (B << 7) | (B >>> 25)
  x[a] = A
  x[b] = B
  x[c] = C
  x[d] = D
}

/** Sets `state`'s constants; the caller sets key, counter and nonce. */
export function newChachaState(): Uint32Array {
  const state = new Words(16)
  for (let i = 0; i < 4; i++) state[i] = CONSTANTS[i]!
  return state
}

const BLOCKS = 8
const SIZE = BLOCKS * 64

/**
 * ChaCha20 with fast key erasure: of every 512 bytes the first 32 are the next key, and bytes are wiped as they are given out, so what
 * is in memory later tells nothing of what was given out before. `seed` has 32 bytes, is used once, and wiped.
 */
export function createRandom(seed: Uint8Array): Random {
  if (typedArrayTag(seed) !== 'Uint8Array' || typedArrayLength(seed) !== 32) throw new TypeError('The seed must be 32 bytes.')
  const state = newChachaState()
  const words = new Words(16)
  const pool = new Bytes(SIZE)
  let at = SIZE

  function takeKey(bytes: Uint8Array): void {
    for (let i = 0; i < 8; i++) {
      const k = 4 * i
      state[4 + i] = bytes[k]! | (bytes[k + 1]! << 8) | (bytes[k + 2]! << 16) | (bytes[k + 3]! << 24)
    }
    typedArrayFill(bytes, 0, 0, 32)
  }

  function refill(): void {
    for (let block = 0; block < BLOCKS; block++) {
      state[12] = block
      chachaBlock(state, words)
      for (let i = 0; i < 16; i++) {
        const word = words[i]!
        const k = 64 * block + 4 * i
        pool[k] = word
        pool[k + 1] = word >>> 8
        pool[k + 2] = word >>> 16
        pool[k + 3] = word >>> 24
      }
    }
    typedArrayFill(words, 0)
    takeKey(pool)
    at = 32
  }

  takeKey(seed)
  return {
    fill(bytes) {
      const length = typedArrayLength(bytes)
      for (let i = 0; i < length; i++) {
        if (at === SIZE) refill()
        bytes[i] = pool[at]!
        pool[at++] = 0
      }
    },
  }
}

const QUOTA = 65536
const permit = {}

function isIntegerArray(tag: string | undefined): boolean {
  switch (tag) {
    case 'Int8Array':
    case 'Uint8Array':
    case 'Uint8ClampedArray':
    case 'Int16Array':
    case 'Uint16Array':
    case 'Int32Array':
    case 'Uint32Array':
    case 'BigInt64Array':
    case 'BigUint64Array':
      return true
    default:
      return false
  }
}

const HEX = '0123456789abcdef'

export class Crypto {
  #getRandom: () => Random
  constructor(key?: unknown, getRandom?: () => Random) {
    if (key !== permit) throw illegalConstructor()
    this.#getRandom = getRandom!
  }
  getRandomValues<T extends ArrayBufferView>(array: T): T {
    const random = this.#getRandom
    requireArguments(arguments.length, 1, 'Crypto.getRandomValues')
    if (!isArrayBufferView(array)) throw new TypeError('Crypto.getRandomValues: the argument is not an ArrayBufferView.')
    if (!isIntegerArray(typedArrayTag(array))) {
      throw new DOMException('The argument is not an integer-typed array.', 'TypeMismatchError')
    }
    const length = typedArrayByteLength(array)
    if (length > QUOTA) throw new DOMException(`More than ${QUOTA} bytes were asked for.`, 'QuotaExceededError')
    if (length > 0) random().fill(new Bytes(typedArrayBuffer(array), typedArrayByteOffset(array), length))
    return array
  }
  randomUUID(): string {
    const random = this.#getRandom
    const bytes = new Bytes(16)
    random().fill(bytes)
    bytes[6] = (bytes[6]! & 15) | 64
    bytes[8] = (bytes[8]! & 63) | 128
    let text = ''
    for (let i = 0; i < 16; i++) {
      if (i === 4 || i === 6 || i === 8 || i === 10) text += '-'
      text += HEX[bytes[i]! >> 4]! + HEX[bytes[i]! & 15]!
    }
    return text
  }
}
defineInterface(Crypto)

/** `getRandom` is asked at each call: when the snapshot is made there is no generator, nor may there be. */
export function createCrypto(getRandom: () => Random): Crypto {
  return new Crypto(permit, getRandom)
}
