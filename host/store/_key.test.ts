import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { decodeSegment, keyToPath, readName } from './_file-names.ts'
import { keyToName, nameToKey, prefixToName } from './_s3-names.ts'
import { assertKey, compareKeys } from './_key.ts'

const key = fc.string({ unit: 'binary', minLength: 1, maxLength: 100 }).filter((text) => {
  try {
    assertKey(text)
    return true
  } catch {
    return false
  }
})

/** Back from a path to its key, as the listing does it. */
function pathToKey(path: string): string {
  let key = ''
  let begun = ''
  for (const name of path.split('/')) {
    const read = readName(name)!
    begun += read.encoded
    if (read.kind === 'continued') continue
    key += decodeSegment(begun)! + (read.kind === 'folder' ? '/' : '')
    begun = ''
  }
  return key
}

test('every key has a path of its own, without upper case, hidden or too long names', () => {
  fc.assert(
    fc.property(key, (text) => {
      const path = keyToPath(text)
      assert.equal(pathToKey(path), text)
      for (const name of path.split('/')) assert.match(name, /^[a-z0-9*_%-][a-z0-9*_.%-]{0,199}[=+]?$/)
    }),
    { numRuns: 2_000 },
  )
})

test("an S3 object's name gives back its key, and sorts and begins as the key does", () => {
  const text = fc.string({ unit: fc.constantFrom(' ', '!', '"', '1', '/', 'a', 'é', '\u{1f600}', '\uffee'), maxLength: 4 })
  fc.assert(
    fc.property(text, text, (a, b) => {
      assert.equal(nameToKey(keyToName(a)), a)
      assert.equal(Buffer.compare(Buffer.from(keyToName(a)), Buffer.from(keyToName(b))), Math.sign(compareKeys(a, b)))
      assert.equal(keyToName(b).startsWith(prefixToName(a)), b.startsWith(a))
    }),
    { numRuns: 20_000 },
  )
  for (const name of ['', 'a', 'a!3!', 'a!1', 'a b!', 'a!!']) assert.equal(nameToKey(name), undefined, name)
})

test('keys sort as their UTF-8 bytes do', () => {
  const text = fc.string({ unit: 'binary', maxLength: 4 })
  fc.assert(
    fc.property(text, text, (a, b) => {
      assert.equal(Math.sign(compareKeys(a, b)), Buffer.compare(Buffer.from(a), Buffer.from(b)))
    }),
    { numRuns: 5_000 },
  )
})

test('what the store did not write is not listed', () => {
  for (const name of ['.DS_Store', 'lost found', 'A=', 'x~', 'a=b', '=', '+', '']) assert.equal(readName(name), undefined, name)
  for (const encoded of ['%', '%zz', '%61', '%4A', '%ff']) assert.equal(decodeSegment(encoded), undefined, encoded)
})
