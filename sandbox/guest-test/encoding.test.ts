import * as fc from 'fast-check'
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { atob as guestAtob, btoa as guestBtoa } from '../guest/base64.ts'
import { TextDecoder as GuestDecoder, TextEncoder as GuestEncoder, utf8Decode, utf8Encode } from '../guest/encoding.ts'

const BYTES = fc.array(
  fc.oneof(
    fc.integer({ min: 0, max: 127 }),
    fc.integer({ min: 0, max: 255 }),
    fc.constantFrom(0xc2, 0xe0, 0xed, 0xef, 0xbb, 0xbf, 0xf0, 0xf4, 0xd8, 0xdc),
  ),
  { maxLength: 60 },
)
const STRING = fc
  .array(
    fc.oneof(fc.integer({ min: 0, max: 127 }), fc.integer({ min: 0, max: 0xffff }), fc.integer({ min: 0xd800, max: 0xdfff })),
  )
  .map((units) => String.fromCharCode(...units))

type AnyDecoder = typeof TextDecoder | typeof GuestDecoder
function decode(
  Decoder: AnyDecoder,
  label: string,
  options: { fatal: boolean; ignoreBOM: boolean },
  bytes: Uint8Array,
  cut: number,
): string {
  try {
    const decoder = new Decoder(label, options)
    return JSON.stringify([
      decoder.encoding,
      decoder.decode(bytes.subarray(0, cut), { stream: true }),
      decoder.decode(bytes.subarray(cut)),
      decoder.decode(bytes),
    ])
  } catch (error) {
    return (error as Error).name
  }
}

test('decoders do as in Node, whole and in parts', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('utf-8', 'utf-16le', 'UTF-16BE ', 'latin1'),
      BYTES,
      fc.nat(60),
      fc.boolean(),
      fc.boolean(),
      (label, list, cut, strict, ignoreBOM) => {
        const fatal = strict && label !== 'latin1'
        const bytes = new Uint8Array(list)
        assert.equal(
          decode(GuestDecoder, label, { fatal, ignoreBOM }, bytes, cut),
          decode(TextDecoder, label, { fatal, ignoreBOM }, bytes, cut),
        )
      },
    ),
    { numRuns: 20_000 },
  )
})

test('the encoder does as in Node', () => {
  fc.assert(
    fc.property(STRING, fc.nat(40), (text, room) => {
      assert.deepEqual(utf8Encode(text), new TextEncoder().encode(text))
      const guest = new Uint8Array(room)
      const node = new Uint8Array(room)
      assert.deepEqual(new GuestEncoder().encodeInto(text, guest), new TextEncoder().encodeInto(text, node))
      assert.deepEqual(guest, node)
    }),
    { numRuns: 5000 },
  )
})

test('long texts pass through chunks unharmed', () => {
  const text = 'a'.repeat(5000) + 'é€😀'.repeat(5000)
  assert.equal(utf8Decode(utf8Encode(text)), text)
})

test('unknown labels are refused', () => {
  assert.throws(() => new GuestDecoder('utf-7'), RangeError)
  assert.throws(() => new GuestDecoder('shift_jis'), RangeError)
  assert.throws(() => GuestEncoder.prototype.encode.call({}, 'a'), TypeError)
})

test('base64 does as in Node', () => {
  const outcome = (run: () => string): string => {
    try {
      return run()
    } catch (error) {
      return (error as Error).name
    }
  }
  fc.assert(
    fc.property(
      fc.oneof(
        STRING,
        fc.array(fc.constantFrom(...'AQgw=+/ \n-_é'.split(''))).map((list) => list.join('')),
      ),
      (text) => {
        assert.equal(
          outcome(() => guestBtoa(text)),
          outcome(() => btoa(text)),
        )
        assert.equal(
          outcome(() => guestAtob(text)),
          outcome(() => atob(text)),
        )
      },
    ),
    { numRuns: 5000 },
  )
})
