import * as fc from 'fast-check'
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { URLSearchParams as GuestParams } from '../guest/url-search-params.ts'
import { URL as GuestURL } from '../guest/url.ts'

/* Node's own URL is the reference; where it departs from the standard, the case is named below. */
const PARTS = [
  'href',
  'origin',
  'protocol',
  'username',
  'password',
  'host',
  'hostname',
  'port',
  'pathname',
  'search',
  'hash',
] as const
const SETTERS = ['href', 'protocol', 'username', 'password', 'host', 'hostname', 'port', 'pathname', 'search', 'hash'] as const
type Setter = (typeof SETTERS)[number]
type AnyURL = typeof URL | typeof GuestURL

const BASES = [
  undefined,
  'http://a.b/c/d;p?q#f',
  'file:///C:/x/y',
  'foo://h/p/q',
  'mailto:x',
  'foo:/a/b',
  'https://u:p@h:8/x/..',
  'foo:///',
]
const SCHEMES = ['', 'http:', 'https:', 'file:', 'foo:', 'mailto:', 'HTTP:', '1a:', 'blob:']
const SLASHES = ['', '/', '//', '///', '\\', '\\\\', '/\\']
// prettier-ignore
const HOSTS = [
  '', 'a', 'A.B', '1.2.3.4', '0x7f.1', '256', '4294967296', '1.2.3', '0300.1', '1.2.3.4.5', '[::1]', '[1:2::3]', '[::ffff:1.2.3.4]',
  '[1:2:3:4:5:6:7:8]', '[1:2:3:4:5:6:7::]', '[::1', '[1::2::3]', '[::1.2.3]', 'u:p@h', 'u@h:80', ':@h', '@h', 'h:', 'h:443', 'h:99999', 'h:a', 'é.com',
  'ＥＸ.com', 'xn--fa-hia.de', 'faß.de', 'ΒΌΛΟΣ.com', 'a%41.com', 'a%', 'C:', 'C|', 'localhost', 'a b', 'a_b', '1.2.3.4.', '0x', 'a..b', '.', '..',
  '☃', 'a@b@c', 'ho%2fst', '日本語。jp', 'a^b', 'a|b', 'a.0', '0.a', '[::1]:80', '[::1]x', '%00', 'a\u00adb', '\u00ad', 'مثال.إختبار', '-a-.b', 'a.0x', '09', '1e3',
]
// prettier-ignore
const PATHS = [
  '', '/', '/.', '/..', '/./a', '/a/../b', '/%2e', '/%2E%2e/x', 'a/b', './x', '../x', '../../../x', '?', '?q', '#', '#f', '/a b', '/é', '/a?b#c', '/^`{}|"<>',
  '?\'"<>`{}', '#`"<> ', '/C:/..', '/C|/x', 'C|/x', '/..//x', '//x', '/a\\b', '\\x', '/\t\nx', '%zz', '?#', '/.//p', '/x ', 'x ?q', '/a/.', '/a/..', '/[]', 'x:y',
]

function read(Constructor: AnyURL, input: string, base: string | undefined): string {
  try {
    const url = base === undefined ? new Constructor(input) : new Constructor(input, base)
    return PARTS.map((part) => url[part]).join(' ')
  } catch (error) {
    return (error as Error).name
  }
}

test('URLs parse as in Node, over a product of tricky parts', () => {
  for (const base of BASES) {
    for (const scheme of SCHEMES) {
      for (const slashes of SLASHES) {
        for (const [index, host] of HOSTS.entries()) {
          // Each host with a few paths, and a few hosts with each path.
          for (const path of index < 3 ? PATHS : PATHS.slice(index % 7, (index % 7) + 4)) {
            const input = scheme + slashes + host + path
            const expected = read(URL, input, base)
            const actual = read(GuestURL, input, base)
            if (actual !== expected) assert.equal(actual, expected, `${JSON.stringify(input)} on ${base}`)
          }
        }
      }
    }
  }
})

const PIECE = fc.constantFrom(
  ...'abz019.:/\\?#@[]%| \t\n&=+-_~$!\'"<>`{}^;,é☃😀\ud800'.split(''),
  '%2e',
  '%41',
  '//',
  'http',
  'file:',
  'C:',
  '..',
  '[::1]',
  '0x1',
  '😀',
)
const TEXT = fc.array(PIECE, { maxLength: 12 }).map((pieces) => pieces.join(''))

test('URLs parse as in Node, at random', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('', 'http://', 'https://h/', 'file:', 'foo:', 'foo://', 'ws:'),
      TEXT,
      fc.constantFrom(...BASES),
      (head, tail, base) => {
        assert.equal(read(GuestURL, head + tail, base), read(URL, head + tail, base))
      },
    ),
    { numRuns: 20_000 },
  )
})

test('setters do as in Node, at random', () => {
  const starts = [
    'http://u:p@h:8080/p?q#f',
    'https://h/',
    'file:///p',
    'file://h/C:/x',
    'foo://h/p',
    'foo:/p',
    'mailto:x?y',
    'foo://u@h:1',
    'http://[::1]:80/',
    'foo:///p',
  ]
  const step = fc.tuple(
    fc.constantFrom(...SETTERS),
    fc.oneof(TEXT, fc.constantFrom('', 'http', 'https:', 'file', 'foo', '80', '443', 'h:1', '8080abc', '//x', '?a', '#b')),
  )
  const apply = (url: URL | GuestURL, key: Setter, value: string): string => {
    try {
      url[key] = value
    } catch (error) {
      return (error as Error).name
    }
    return PARTS.map((part) => url[part]).join(' ')
  }
  fc.assert(
    fc.property(fc.constantFrom(...starts), fc.array(step, { minLength: 1, maxLength: 4 }), (start, steps) => {
      const guest = new GuestURL(start)
      const node = new URL(start)
      for (const [key, value] of steps)
        assert.equal(apply(guest, key, value), apply(node, key, value), `${start} ${key} = ${JSON.stringify(value)}`)
    }),
    { numRuns: 20_000 },
  )
})

test('search parameters do as in Node, at random', () => {
  fc.assert(
    fc.property(TEXT, fc.array(fc.tuple(TEXT, TEXT)), (query, pairs) => {
      // Node decodes what is not ASCII wrongly next to an escape that is no UTF-8.
      // oxlint-disable-next-line no-control-regex
      fc.pre(!query.includes('%') || /^[\0-\x7f]*$/.test(query))
      const guest = new GuestParams(query)
      const node = new URLSearchParams(query)
      for (const [name, value] of pairs) {
        guest.append(name, value)
        node.append(name, value)
      }
      assert.deepEqual([...guest], [...node])
      assert.equal(guest.toString(), node.toString())
      guest.sort()
      node.sort()
      assert.equal(guest.toString(), node.toString())
      assert.equal(new GuestParams(pairs).toString(), new URLSearchParams(pairs).toString())
    }),
    { numRuns: 3000 },
  )
})

test('a URL and its search parameters follow each other', () => {
  const url = new GuestURL('http://h/?a=1')
  const { searchParams } = url
  searchParams.append('b', '2 3')
  assert.equal(url.href, 'http://h/?a=1&b=2+3')
  url.search = '?c=3'
  assert.equal(searchParams, url.searchParams)
  assert.equal(searchParams.get('c'), '3')
  url.href = 'http://h/'
  assert.equal(searchParams.size, 0)
})

test('what the standard asks and Node does not', () => {
  // An ACE label that encodes nothing valid.
  assert.equal(GuestURL.canParse('http://xn--a/'), false)
  assert.equal(GuestURL.parse('nonsense'), null)
  assert.equal(GuestURL.length, 1)
  assert.deepEqual(Object.keys(GuestURL), ['canParse', 'parse'])
})
