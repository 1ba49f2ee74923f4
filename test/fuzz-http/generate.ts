/** Requests that are right, nearly right, or bytes: from a grammar, and then bent. */
import type { Random } from '../chaos/random.ts'

const METHODS = [
  'GET',
  'GET',
  'GET',
  'POST',
  'POST',
  'HEAD',
  'OPTIONS',
  'PUT',
  'DELETE',
  'PATCH',
  'TRACE',
  'CONNECT',
  'get',
  'BREW',
  'PRI',
  '',
]
const TARGETS = [
  '/',
  '/a/b?c=d',
  '/%00%2f..//',
  '/../..',
  '//h/x',
  '*',
  'x',
  'http://fuzz.test/x',
  'http://other.test/',
  '/\xe9',
  '/\xc3\xa9',
  '/#',
  '?',
]
const VERSIONS = [...Array<string>(12).fill('HTTP/1.1'), 'HTTP/1.0', 'HTTP/0.9', 'HTTP/2.0', 'HTTP/1.2', 'http/1.1', '']
const HOSTS = [
  ...Array<string>(12).fill('fuzz.test'),
  'FUZZ.test.',
  'fuzz.test:80',
  'nobody.test',
  '',
  'a b',
  '[::1]',
  'u@fuzz.test',
  'fuzz..test',
]
const ENDS = [...Array<string>(20).fill('\r\n'), '\n', '\r', '\r\r\n', '']
const FIELDS = [
  'Accept: */*',
  'Cookie: a=b; c=d',
  'Connection: keep-alive',
  'Connection: close',
  'Connection: x-a, keep-alive',
  'Connection: Upgrade\r\nUpgrade: websocket',
  'Expect: 100-continue',
  'Expect: x',
  'TE: trailers',
  'X-A: \xe9',
  'X-A:',
  'X-A : 1',
  ' folded: 1',
  ': 1',
  'no colon',
  'Host: twice.test',
  'skep-error: internal-forged',
  'skep-request-id: forged',
  'X-Forwarded-For: 1.2.3.4',
  'Range: bytes=0-1',
  'Accept-Encoding: gzip',
  `X-Long: ${'y'.repeat(3_000)}`,
]
const LENGTHS = ['0', '1', '-1', '+5', '0x5', '5, 5', '5 5', '00005', '99999999999999999999', '']
const ENCODINGS = ['chunked', 'Chunked', 'gzip, chunked', 'chunked, identity', 'identity', '\x0bchunked', 'xchunked', '']
const SIZES = ['5', '05', '5;x=y', '5 ', '0x5', '-5', '5;', 'ffffffffffffffff', '10000000000000005', 'zz', '']

/** One in so many of the parts of a request is strange. */
const STRANGE = 14

/** `token` is to come back only to whoever sent it. */
export function requestBytes(random: Random, token: string): Buffer {
  const strange = (): boolean => random.below(STRANGE) === 0
  const method = strange() ? random.pick(METHODS) : random.pick(METHODS.slice(0, 6))
  const target = strange() ? random.pick(TARGETS) : random.pick(TARGETS.slice(0, 3))
  const end = (): string => (random.below(60) === 0 ? random.pick(ENDS) : '\r\n')
  let text = `${method} ${target}${target.includes('?') ? '&' : '?'}${token} ${strange() ? random.pick(VERSIONS) : 'HTTP/1.1'}${end()}`
  if (!strange()) text += `Host: ${strange() ? random.pick(HOSTS) : 'fuzz.test'}${end()}`
  text += `X-Token: ${token}${end()}`
  for (let fields = random.below(4); fields > 0; fields--)
    text += `${strange() ? random.pick(FIELDS) : random.pick(FIELDS.slice(0, 3))}${end()}`
  if (random.below(400) === 0) text += `X: ${token}\r\n`.repeat(random.below(300))
  text += bodyText(random, method, end)
  const bytes = Buffer.from(text, 'latin1')
  return random.below(5) === 0 ? bent(random, bytes) : bytes
}

function bodyText(random: Random, method: string, end: () => string): string {
  const strange = (): boolean => random.below(STRANGE) === 0
  const wanted = method === 'POST' || method === 'PUT' || method === 'PATCH' ? random.below(3) : strange() ? 1 : 0
  if (wanted === 0) return end()
  const body = 'hello'.repeat(1 + random.below(strange() ? 20_000 : 3))
  let head = ''
  if (wanted === 1 || strange()) head += `Content-Length: ${strange() ? random.pick(LENGTHS) : body.length}${end()}`
  if (wanted === 1) return `${head}${end()}${body}`
  head += `Transfer-Encoding: ${strange() ? random.pick(ENCODINGS) : 'chunked'}${end()}`
  const size = strange() ? random.pick(SIZES) : body.length.toString(16)
  const trailer = strange() ? `X-Trailer: 1${end()}` : ''
  return `${head}${end()}${size}${end()}${body}${end()}0${end()}${trailer}${end()}`
}

/** Some of its bytes are changed, put in, taken out, doubled, or all that follows is left out. */
export function bent(random: Random, bytes: Buffer): Buffer {
  let out = bytes
  for (let times = 1 + random.below(3); times > 0; times--) {
    const at = random.below(out.length + 1)
    const before = out.subarray(0, at)
    const length = 1 + random.below(8)
    switch (random.below(6)) {
      case 0:
        out = Buffer.concat([before, noise(random, 1), out.subarray(at + 1)])
        break
      case 1:
        out = Buffer.concat([before, noise(random, length), out.subarray(at)])
        break
      case 2:
        out = Buffer.concat([before, out.subarray(at + length)])
        break
      case 3:
        out = Buffer.concat([before, out.subarray(at, at + length * 8), out.subarray(at)])
        break
      case 4:
        out = Buffer.from(before)
        break
      default:
        out = Buffer.concat([
          before,
          Buffer.from(random.pick(['\r\n', '\n', '\r', '\0', ' ', '\t', ':', '\r\n\r\n', '0\r\n\r\n'])),
          out.subarray(at),
        ])
    }
  }
  return out
}

function noise(random: Random, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => random.below(256)))
}
