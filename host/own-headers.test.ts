import assert from 'node:assert/strict'
import { test } from 'node:test'
import { stripOwnHeaders, takeRequestHeaders } from './own-headers.ts'

test('a request loses what only the host may say, and its CDN-Loop fields come as one', () => {
  const headers = [
    'host',
    'a',
    'skep-request-id',
    'x',
    'cdn-loop',
    'a',
    'x-a',
    '1',
    'skep-z',
    'y',
    'cdn-loop',
    'b; c=d',
    'x-b',
    '2',
  ]
  assert.equal(takeRequestHeaders(headers), 'a, b; c=d')
  assert.deepEqual(headers, ['host', 'a', 'x-a', '1', 'x-b', '2'])
  const plain = ['host', 'a', 'cdn-loop2', 'b', 'skep', 'c', 'user-age', 'd']
  assert.equal(takeRequestHeaders(plain), '')
  assert.deepEqual(plain, ['host', 'a', 'cdn-loop2', 'b', 'skep', 'c', 'user-age', 'd'])
})

test('an answer loses what only the host may say, in any case, and has a most', () => {
  const headers = ['Skep-Error', 'x', 'x-a', '1', 'SKEP-REQUEST-ID', 'y', 'skeptic', 'z']
  stripOwnHeaders(headers, 1_000)
  assert.deepEqual(headers, ['x-a', '1', 'skeptic', 'z'])
  assert.throws(() => stripOwnHeaders(['x-a', 'a'.repeat(1_000)], 1_000), /more than 1000/)
  assert.throws(() => stripOwnHeaders(['x-a'], 1_000), /no value/)
})
