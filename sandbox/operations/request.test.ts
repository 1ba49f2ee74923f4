import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { loopOf, passesIn, withPass } from './cdn-loop.ts'
import { readRequest, redirected } from './request.ts'

const read = (given: Record<string, unknown> = {}, loop = '') =>
  readRequest(
    {
      method: 'GET',
      url: 'http://a.example/',
      redirect: 'follow',
      headers: [],
      body: null,
      streamed: false,
      ...(given as object),
    },
    loop,
    'skep-1',
  )
const fields = (headers: string[]) => {
  const pairs: [string, string][] = []
  for (let i = 0; i < headers.length; i += 2) pairs.push([headers[i]!, headers[i + 1]!])
  return Object.fromEntries(pairs)
}
const DEFAULTS = { accept: '*/*', 'accept-encoding': 'gzip, deflate', 'user-agent': 'skep', 'cdn-loop': 'skep-1' }

test('hop-by-hop fields, framing, host and what is the host’s to say never leave, in any case', () => {
  const refused = `Host Connection Keep-Alive Proxy-Connection Proxy-Authorization Proxy-Authenticate TE Trailer Transfer-Encoding
    Upgrade HTTP2-Settings Content-Length Expect CDN-Loop Skep-Request-Id skep-x SKEP-ERROR host CONNECTION`.split(/\s+/)
  const headers = refused.flatMap((name) => [name, 'x'])
  assert.deepEqual(fields(read({ headers }).headers), DEFAULTS)
})

test('what Connection names goes with it', () => {
  const headers = ['connection', 'X-Hop, close', 'Connection', 'x-other', 'x-hop', '1', 'X-Other', '2', 'x-stays', '3']
  assert.deepEqual(fields(read({ headers }).headers), { ...DEFAULTS, 'x-stays': '3' })
})

test('forwarding fields, cookies and credentials are the function’s to send; its own values win over the defaults', () => {
  const own = { forwarded: 'for=1', 'x-forwarded-for': '1.2.3.4', via: '1.1 x', cookie: 'a=1', authorization: 'b', 'sec-x': 'c' }
  const headers = Object.entries({ ...own, accept: 'a/b', 'accept-encoding': 'br', 'user-agent': 'mine' }).flat()
  assert.deepEqual(fields(read({ headers }).headers), {
    ...own,
    accept: 'a/b',
    'accept-encoding': 'br',
    'user-agent': 'mine',
    'cdn-loop': 'skep-1',
  })
})

test('no character of a name or a value can end a line', () => {
  for (let code = 0; code < 512; code++) {
    const character = String.fromCharCode(code)
    const isText = code === 9 || (code >= 32 && code <= 126) || (code >= 128 && code <= 255)
    const value = () => read({ headers: ['x-a', `a${character}b`] })
    if (isText) value()
    else assert.throws(value, /its header x-a is not valid/, `value ${code}`)
    const isToken = /[!#$%&'*+\-.^_`|~0-9a-z]/i.test(character)
    const name = () => read({ headers: [`x${character}y`, 'v'] })
    if (isToken) name()
    else assert.throws(name, TypeError, `name ${code}`)
  }
  assert.throws(() => read({ headers: ['', 'v'] }), TypeError)
})

test('names, values, URL and number of fields are bounded', () => {
  assert.throws(() => read({ headers: ['x-a', 'a'.repeat(65_537)] }), /more than 65536 bytes/)
  assert.throws(() => read({ headers: Array.from({ length: 600 }, (_, i) => (i % 2 ? 'v' : `x-${i}`)) }), /more than 256 headers/)
  assert.throws(() => read({ url: `http://a.example/${'a'.repeat(65_536)}` }), /more than 65536 characters/)
  read({ headers: Array.from({ length: 512 }, (_, i) => (i % 2 ? 'v' : `x-${i}`)) })
})

test('methods that are no request to the server that was judged, and malformed arguments', () => {
  for (const method of ['CONNECT', 'connect', 'TRACE', 'TRACK', 'A B', 'GET\r\n', '', 'GÉT'])
    assert.throws(() => read({ method }), TypeError)
  for (const given of [
    { method: 1 },
    { url: {} },
    { headers: {} },
    { redirect: 'x' },
    { body: 5 },
    { body: {} },
    { body: undefined },
  ])
    assert.throws(() => read(given), /malformed/)
  read({ method: 'PURGE' })
})

test('whatever the guest’s side sends, a request is well-formed or a TypeError', () => {
  const anything = fc.oneof(fc.string(), fc.anything(), fc.constantFrom('GET', 'follow', 'http://a.example/', null, []))
  fc.assert(
    fc.property(
      fc.record({ method: anything, url: anything, redirect: anything, headers: fc.array(anything), body: anything }),
      (given) => {
        try {
          const request = read(given as Record<string, unknown>)
          for (const text of request.headers) assert.ok(!/[\r\n\0]/.test(text))
        } catch (error) {
          // `String()` of what cannot be one throws a TypeError of its own.
          assert.ok(error instanceof TypeError)
        }
      },
    ),
    { numRuns: 2_000 },
  )
})

test('redirects: methods, bodies and credentials as the fetch standard has them', () => {
  const post = read({
    method: 'POST',
    body: 'x',
    headers: ['content-type', 'a', 'authorization', 'b', 'cookie', 'c', 'x-d', 'd'],
  })
  const to = (status: number, location: string, request = post) => {
    const next = redirected(request, status, location)
    return [next.method, next.body, next.url.href, Object.keys(fields(next.headers)).filter((name) => !(name in DEFAULTS))]
  }
  assert.deepEqual(to(301, '/n'), ['GET', null, 'http://a.example/n', ['authorization', 'cookie', 'x-d']])
  assert.deepEqual(to(303, '/n', read({ method: 'HEAD' })), ['HEAD', null, 'http://a.example/n', []])
  assert.deepEqual(to(303, '/n', read({ method: 'DELETE' })), ['GET', null, 'http://a.example/n', []])
  assert.deepEqual(to(302, '/n', read({ method: 'PUT', body: 'x' })), ['PUT', 'x', 'http://a.example/n', []])
  assert.deepEqual(to(307, 'https://a.example/'), ['POST', 'x', 'https://a.example/', ['content-type', 'x-d']])
  assert.deepEqual(to(308, '//b.example:81/p#f'), ['POST', 'x', 'http://b.example:81/p#f', ['content-type', 'x-d']])
  assert.equal(redirected(read({ url: 'http://a.example/#f' }), 302, '/n').url.href, 'http://a.example/n#f')
  assert.throws(() => to(307, '/n', { ...post, streamed: true }), /stream/)
  assert.equal(redirected({ ...post, streamed: true }, 303, '/n').streamed, false)
  for (const location of ['file:///etc/passwd', 'data:,x', 'ftp://a/', 'http://u@b.example/', 'http://[', 'javascript:1'])
    assert.throws(() => to(302, location), TypeError, location)
  assert.equal(fields(redirected(read({}, 'other'), 302, 'http://b.example/').headers)['cdn-loop'], 'other, skep-1')
})

test('CDN-Loop: passes are counted, others’ entries kept', () => {
  assert.equal(loopOf(['a', 'b', 'cdn-loop', 'x', 'skep-request-id', 'd']), 'x')
  assert.equal(loopOf(['a', 'b', 'cdn-loop', 'x']), 'x')
  assert.equal(loopOf(['cdn-loop-', 'x']), '')
  assert.equal(loopOf([]), '')
  assert.equal(passesIn('skep-1, SKEP-1;a=b ,x,skep-12, skep-1', 'skep-1'), 3)
  assert.equal(passesIn('', 'skep-1'), 0)
  assert.equal(withPass('x', 'skep-1'), 'x, skep-1')
  assert.equal(
    fields(read({ headers: ['cdn-loop', 'forged', 'Cdn-Loop', ''] }, 'x, skep-1').headers)['cdn-loop'],
    'x, skep-1, skep-1',
  )
})
