import type { Attack, Sent } from './attack.ts'

/** Requests that are none, or too much, to a function that echoes. Each parser says in detail what it says in its own tests. */

export const ECHO = `export default {
  async fetch(request) {
    const url = new URL(request.url)
    if (url.pathname === '/wait') await new Promise((resolve) => setTimeout(resolve, 100))
    return new Response(JSON.stringify({ method: request.method, path: url.pathname + url.search, body: (await request.text()).length }))
  },
}`

const sends = (name: string, sent: Sent | Sent[], expect: Attack['expect'], more: Partial<Attack> = {}): Attack => ({
  name,
  requests: [sent].flat(),
  expect,
  ...more,
})

const raw = (name: string, text: string, expect: Attack['expect'], more: Partial<Attack> = {}) =>
  sends(name, { raw: text }, expect, more)

/** uWebSockets.js closes some of these without a word, and answers others itself, without a code. */
const REFUSED = ['bad_request', 400, 'closed', 431, 505, 501, 413, 'headers_too_large', 'body_too_large']
const BY_PARSER = 'A parser may answer, without a code, or close.'
const NOBODY = ['unknown_host', 'bad_request', 400]

export const protocol: Attack[] = [
  raw('no request at all', '\r\n\r\n', REFUSED, { why: BY_PARSER }),
  raw('binary nonsense', '\x00\x01\x02\xff\xfe\r\n\r\n', REFUSED, { why: BY_PARSER }),
  raw('the hello of TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + '\x00'.repeat(200), REFUSED, { why: BY_PARSER }),
  raw('the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', REFUSED, { why: BY_PARSER }),
  raw('a version that is not there', 'GET / HTTP/9.9\r\nhost: HOST\r\n\r\n', [...REFUSED, 200], { why: BY_PARSER }),
  raw('no version', 'GET /\r\n\r\n', REFUSED, { why: BY_PARSER }),
  raw('no host', 'GET / HTTP/1.1\r\n\r\n', [...REFUSED, 'unknown_host'], { why: BY_PARSER }),
  raw('two hosts', 'GET / HTTP/1.1\r\nhost: HOST\r\nhost: victim.localhost\r\n\r\n', [...REFUSED, 200, 'unknown_host'], {
    why: BY_PARSER,
  }),
  raw('an empty host', 'GET / HTTP/1.1\r\nhost:\r\n\r\n', [...REFUSED, 'unknown_host'], { why: BY_PARSER }),
  sends('a host of nobody’s', { host: 'nobody.localhost' }, 'unknown_host'),
  sends('a host of nonsense', { host: 'a b' }, NOBODY, { why: 'It is no hostname.' }),
  sends('a host with user and path', { host: 'u:p@victim.localhost/x' }, NOBODY, { why: 'It is no hostname.' }),
  sends('a host with dots', { host: '../../victim.localhost' }, NOBODY, { why: 'It is no hostname.' }),
  sends('a host that is a key of the store', { host: 'routes/victim.localhost' }, NOBODY, { why: 'It is no hostname.' }),
  sends('a host that is a wildcard', { host: '*.localhost' }, NOBODY, { why: 'It is no hostname.' }),
  sends('a host that is a prototype', { host: '__proto__' }, 'unknown_host'),
  sends('a host that is an address', { host: '[::1]:80' }, 'unknown_host'),
  sends('a host of 300 characters', { host: `${'a'.repeat(60)}.`.repeat(5) + 'localhost' }, NOBODY, {
    why: 'It is longer than a hostname.',
  }),
  sends('a host of 200 labels', { host: 'a.'.repeat(100) + 'localhost' }, NOBODY, {
    why: 'It has more labels than are looked up.',
  }),
  {
    name: 'two hundred hosts of nobody’s',
    expect: 'unknown_host',
    run: async (scene) => {
      const answers = await Promise.all(
        Array.from({ length: 200 }, (_, i) => scene.send(`n${i}-${'x'.repeat(i % 50)}.localhost`)),
      )
      const bad = answers.find(({ outcome }) => outcome !== 'unknown_host')
      return bad === undefined ? '' : `${bad.outcome}`
    },
  },
  sends('a method of one’s own', { method: 'PROPFIND' }, [200, 'bad_request'], {
    why: 'It is a token, which a parser may not know.',
  }),
  raw(
    'CONNECT',
    'CONNECT victim.localhost:443 HTTP/1.1\r\nhost: victim.localhost:443\r\n\r\n',
    [...REFUSED, 'unknown_host', 404, 405],
    { why: BY_PARSER },
  ),
  raw('TRACE', 'TRACE / HTTP/1.1\r\nhost: HOST\r\n\r\n', [...REFUSED, 200, 405], { why: BY_PARSER }),
  raw('a method in small letters', 'get / HTTP/1.1\r\nhost: HOST\r\n\r\n', [...REFUSED, 200], { why: BY_PARSER }),
  raw('a method of 5,000 characters', `${'X'.repeat(5000)} / HTTP/1.1\r\nhost: HOST\r\n\r\n`, [...REFUSED, 200], {
    why: BY_PARSER,
  }),
  raw('OPTIONS *', 'OPTIONS * HTTP/1.1\r\nhost: HOST\r\n\r\n', [...REFUSED, 200], { why: BY_PARSER }),
  raw(
    'the absolute form, of another host',
    'GET http://nobody.localhost/ HTTP/1.1\r\nhost: HOST\r\n\r\n',
    [...REFUSED, 'unknown_host', 200],
    { why: BY_PARSER },
  ),
  raw('a path that climbs', 'GET /../../etc/passwd HTTP/1.1\r\nhost: HOST\r\n\r\n', 200, { text: /"path":"\/etc\/passwd"/ }),
  raw('a path with bad escapes', 'GET /%zz%00%ff%c0%80 HTTP/1.1\r\nhost: HOST\r\n\r\n', [200, ...REFUSED], { why: BY_PARSER }),
  raw('a path of raw bytes', 'GET /\xff\xfe\xc3\x28 HTTP/1.1\r\nhost: HOST\r\n\r\n', [200, ...REFUSED], { why: BY_PARSER }),
  raw('a path of 12,000 characters', `GET /${'x'.repeat(12_000)} HTTP/1.1\r\nhost: HOST\r\n\r\n`, [200, ...REFUSED, 414], {
    why: BY_PARSER,
  }),
  raw('a field of 64 kB', `GET / HTTP/1.1\r\nhost: HOST\r\nx-a: ${'y'.repeat(65_536)}\r\n\r\n`, REFUSED, { why: BY_PARSER }),
  raw(
    'a thousand fields',
    `GET / HTTP/1.1\r\nhost: HOST\r\n${Array.from({ length: 1000 }, (_, i) => `x-${i}: y\r\n`).join('')}\r\n`,
    REFUSED,
    { why: BY_PARSER },
  ),
  raw('a field’s name of nonsense', 'GET / HTTP/1.1\r\nhost: HOST\r\nx y: z\r\n: empty\r\n\r\n', [...REFUSED, 200], {
    why: BY_PARSER,
  }),
  raw('a folded field', 'GET / HTTP/1.1\r\nhost: HOST\r\nx-a: y\r\n z: w\r\n\r\n', [...REFUSED, 200], { why: BY_PARSER }),
  raw('a null in a field', 'GET / HTTP/1.1\r\nhost: HOST\r\nx-a: y\x00z\r\n\r\n', [...REFUSED, 200], { why: BY_PARSER }),
  raw('line feeds alone', 'GET / HTTP/1.1\nhost: HOST\n\n', [...REFUSED, 200], { why: BY_PARSER }),
  raw('a negative length', 'POST / HTTP/1.1\r\nhost: HOST\r\ncontent-length: -5\r\n\r\nhello', REFUSED, { why: BY_PARSER }),
  raw('a length that is no number', 'POST / HTTP/1.1\r\nhost: HOST\r\ncontent-length: 0x5\r\n\r\nhello', REFUSED, {
    why: BY_PARSER,
  }),
  raw('two lengths', 'POST / HTTP/1.1\r\nhost: HOST\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello', REFUSED, {
    why: BY_PARSER,
  }),
  raw(
    'length and chunks',
    'POST / HTTP/1.1\r\nhost: HOST\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nhost: victim.localhost\r\n\r\n',
    REFUSED,
    { why: BY_PARSER },
  ),
  raw('chunked in disguise', 'POST / HTTP/1.1\r\nhost: HOST\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n', REFUSED, {
    why: BY_PARSER,
  }),
  raw(
    'a chunk’s size of nonsense',
    'POST / HTTP/1.1\r\nhost: HOST\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n',
    [...REFUSED, 'function_threw', 'cut'],
    { why: BY_PARSER },
  ),
  raw(
    'a chunk’s size beyond all numbers',
    'POST / HTTP/1.1\r\nhost: HOST\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nhello\r\n0\r\n\r\n',
    [...REFUSED, 'function_threw'],
    { why: BY_PARSER },
  ),
  raw(
    'a body larger than any may be',
    'POST / HTTP/1.1\r\nhost: HOST\r\ncontent-length: 99999999999\r\n\r\nhello',
    ['body_too_large', 413],
    { why: BY_PARSER },
  ),
  sends(
    'a body that never comes',
    { raw: 'POST / HTTP/1.1\r\nhost: HOST\r\ncontent-length: 1000\r\n\r\nhello', leaveAfterMs: 300 },
    'left',
    { times: 20 },
  ),
  sends('half a head', { raw: 'GET / HTTP/1.1\r\nhost: HO', leaveAfterMs: 300 }, 'left', { times: 50 }),
  sends(
    'chunks that break off',
    { raw: 'POST / HTTP/1.1\r\nhost: HOST\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel', leaveAfterMs: 200 },
    'left',
    { times: 20 },
  ),
  sends('connections that say nothing', { raw: '', leaveAfterMs: 400 }, 'left', { times: 100 }),
  sends('a GET with a body', { method: 'GET', headers: { 'content-length': '1000' }, body: 'x'.repeat(1000) }, 200, {
    text: /"body":1000/,
  }),
  sends(
    'a websocket',
    { headers: { connection: 'upgrade', upgrade: 'websocket', 'sec-websocket-key': 'x', 'sec-websocket-version': '13' } },
    [200, 'bad_request'],
    { why: 'It is answered as what it is without the upgrade.' },
  ),
  raw(
    'an expectation of its own',
    'POST / HTTP/1.1\r\nhost: HOST\r\nexpect: nonsense\r\ncontent-length: 5\r\n\r\nhello',
    [200, 417, ...REFUSED],
    { why: BY_PARSER },
  ),
  raw('HTTP/1.0 that keeps on', 'GET / HTTP/1.0\r\nhost: HOST\r\nconnection: keep-alive\r\n\r\n', [200, ...REFUSED], {
    why: BY_PARSER,
  }),
  raw('twenty requests in one packet', 'GET /wait HTTP/1.1\r\nhost: HOST\r\n\r\n'.repeat(20), [200, 'closed'], {
    why: 'uWebSockets.js ends such connections.',
  }),
  sends('two hundred at once', { path: '/wait' }, 200, { times: 200 }),
  sends(
    'fields that speak for a proxy',
    {
      headers: {
        'x-forwarded-host': 'victim.localhost',
        forwarded: 'host=victim.localhost',
        'x-original-url': '/admin',
        'x-http-method-override': 'DELETE',
      },
    },
    200,
    { text: /"method":"GET","path":"\/"/ },
  ),
]
