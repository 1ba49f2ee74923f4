import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nearest, suggestion } from './nearest.ts'

test('the nearest word, or none', () => {
  const known = ['port', 'workers', 'forcePathStyle', 'log']
  for (const [word, expected] of [
    ['prot', 'port'],
    ['worker', 'workers'],
    ['forcepathstyle', 'forcePathStyle'],
    ['lg', 'log'],
    ['something', undefined],
    ['', undefined],
  ] as const) {
    assert.equal(nearest(word, known), expected, word)
  }
  assert.equal(suggestion('prot', known), ' Did you mean port?')
  assert.equal(suggestion('something', ['a', 'b']), ' Known: a, b.')
})
