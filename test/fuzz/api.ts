import * as fc from 'fast-check'
import { oddValue } from './yaml.ts'

/** Requests to the control API: every operation of its document, with params, headers and bodies that may be right or anything. */

export interface Operation {
  method: string
  path: string
  /** Names within the path. */
  params: string[]
  query: string[]
  /** Content type → JSON schema. */
  bodies: Record<string, unknown>
}

export interface Sent {
  method: string
  path: string
  headers: Record<string, string>
  body: string | Uint8Array<ArrayBuffer> | undefined
}

interface OpenApi {
  paths: Record<
    string,
    Record<
      string,
      { parameters?: { in: string; name: string }[]; requestBody?: { content: Record<string, { schema?: unknown }> } }
    >
  >
}

export function operationsOf(document: object): Operation[] {
  const { paths } = document as OpenApi
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { parameters = [], requestBody }]) => ({
      method: method.toUpperCase(),
      path,
      params: parameters.filter((parameter) => parameter.in === 'path').map(({ name }) => name),
      query: parameters.filter((parameter) => parameter.in === 'query').map(({ name }) => name),
      bodies: Object.fromEntries(Object.entries(requestBody?.content ?? {}).map(([type, { schema }]) => [type, schema])),
    })),
  )
}

/** What a schema asks for, mostly; and at any place now and then something else. References lead into the document. */
export function valueOf(schema: unknown, document: object, depth = 0): fc.Arbitrary<unknown> {
  const sound = soundValueOf(schema, document, depth)
  return fc.oneof({ weight: 12, arbitrary: sound }, { weight: 1, arbitrary: oddValue })
}

interface Schema {
  $ref?: string
  type?: string | string[]
  enum?: unknown[]
  const?: unknown
  anyOf?: unknown[]
  oneOf?: unknown[]
  allOf?: unknown[]
  properties?: Record<string, unknown>
  required?: string[]
  additionalProperties?: unknown
  items?: unknown
  example?: unknown
}

function soundValueOf(given: unknown, document: object, depth: number): fc.Arbitrary<unknown> {
  const schema = (given ?? {}) as Schema
  if (depth > 6) return fc.constant(null)
  const inner = (one: unknown) => valueOf(one, document, depth + 1)
  if (schema.$ref !== undefined) return inner(follow(schema.$ref, document))
  if (schema.example !== undefined) return fc.constant(schema.example)
  if (schema.const !== undefined) return fc.constant(schema.const)
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum)
  const either = schema.anyOf ?? schema.oneOf ?? schema.allOf
  if (either !== undefined) return fc.oneof(...either.map(inner))
  switch (Array.isArray(schema.type) ? schema.type[0] : schema.type) {
    case 'object': {
      const fields = Object.entries(schema.properties ?? {}).map(([name, one]) => [name, inner(one)] as const)
      const known = fc.record(Object.fromEntries(fields), { requiredKeys: schema.required ?? [] })
      const more = fc.dictionary(fc.oneof(WORDS, fc.string({ maxLength: 5 })), inner(schema.additionalProperties), { maxKeys: 3 })
      return fc
        .tuple(known, typeof schema.additionalProperties === 'object' ? more : fc.constant({}))
        .map(([a, b]) => ({ ...a, ...b }))
    }
    case 'array':
      return fc.array(inner(schema.items), { maxLength: 4 })
    case 'number':
    case 'integer':
      return fc.oneof(fc.constantFrom<number>(0, 1, 50, 100, -1, 0.5, 1e9, 2 ** 53), fc.integer())
    case 'boolean':
      return fc.boolean()
    default:
      return fc.oneof(WORDS, fc.string({ maxLength: 20 }), fc.string({ unit: 'binary', maxLength: 10 }))
  }
}

function follow(reference: string, document: object): unknown {
  return reference
    .split('/')
    .slice(1)
    .reduce<unknown>((at, part) => (at as Record<string, unknown> | undefined)?.[part], document)
}

/** What is there, what could be, and what should be neither. */
export const WORDS = fc.constantFrom('hello', 'other', 'default', 'acme', '*', '0123456789abcdef', 'a.localhost', '*.a.localhost', '/', '__proto__', 'constructor', '..', '', ' ', 'x'.repeat(300), 'é', '\0', 'a/b', 'null', '1', '-1', 'GET', 'A\r\nb: c') // prettier-ignore

const HEADER_VALUES = fc
  .oneof(WORDS, fc.string({ maxLength: 30 }))
  .map((text) => text.replace(/[^\t\x20-\x7e\x80-\xff]/g, '').trim())
const HEADERS = [
  'if-match',
  'content-type',
  'content-length',
  'skep-tenant',
  'x-request-id',
  'accept',
  'x-callback-url',
  'content-encoding',
  'transfer-encoding',
  'authorization',
  'cookie',
  'range',
  'expect',
]

export function requestTo(operation: Operation, document: object): fc.Arbitrary<Sent> {
  const params = fc.tuple(...operation.params.map(() => fc.oneof({ weight: 3, arbitrary: fc.constantFrom('hello', 'a.localhost') }, { weight: 2, arbitrary: WORDS }, fc.string({ maxLength: 20 })))) // prettier-ignore
  const query = fc.dictionary(
    fc.constantFrom(...operation.query, 'tenant', 'x', '__proto__'),
    fc.oneof(WORDS, fc.string({ maxLength: 20 })),
    { maxKeys: 3 },
  )
  const headers = fc.dictionary(fc.constantFrom(...HEADERS), HEADER_VALUES, { maxKeys: 2 })
  return fc.tuple(params, query, headers, bodyOf(operation, document)).map(([values, asked, more, { type, body }]) => {
    let path = operation.path
    for (const [index, name] of operation.params.entries()) path = path.replace(`{${name}}`, encode(values[index] as string))
    const search = new URLSearchParams(Object.entries(asked)).toString()
    const hasBody = operation.method !== 'GET' && operation.method !== 'HEAD'
    return {
      method: operation.method,
      path: search === '' ? path : `${path}?${search}`,
      headers: { ...(type === '' ? {} : { 'content-type': type }), ...more },
      body: hasBody ? body : undefined,
    }
  })
}

function bodyOf(operation: Operation, document: object): fc.Arbitrary<{ type: string; body: Sent['body'] }> {
  const json = operation.bodies['application/json'] ?? {}
  const text = (value: unknown) => JSON.stringify(value) ?? ''
  const type = fc.constantFrom(
    'application/json',
    'application/json',
    'application/json; charset=utf-16',
    'text/plain',
    'application/x-www-form-urlencoded',
    '',
  )
  const values = valueOf(json, document).map(text)
  const cut = fc.tuple(values, fc.nat(100)).map(([whole, at]) => whole.slice(0, at))
  const deep = fc.constantFrom('[', '{"a":').map((open) => open.repeat(20_000))
  const special = fc.constantFrom(
    '',
    'null',
    'NaN',
    '1e999',
    '{"__proto__":{"role":"admin"}}',
    '{"a":1,"a":2}',
    '\ufeff{}',
    '{"versions":[{"id":"0123456789abcdef","percent":1e999}]}',
  )
  const jsonish = fc.tuple(fc.oneof({ weight: 6, arbitrary: values }, cut, special, { weight: 1, arbitrary: deep }), type)
  const bytes = fc.tuple(
    fc.uint8Array({ maxLength: 200 }).map((list) => new Uint8Array(list)),
    type,
  )
  return fc
    .oneof({ weight: 8, arbitrary: jsonish }, { weight: 1, arbitrary: bytes })
    .map(([body, given]) => ({ type: given, body }))
}

/** As a client would, or as it is, where that can stand in a URL at all. */
function encode(text: string): string {
  try {
    return encodeURIComponent(text)
  } catch {
    return '%ff'
  }
}

/** Multipart forms, whole and broken, of parts that may be what they should. */
export function uploads(
  bundle: fc.Arbitrary<Uint8Array>,
  metadata: fc.Arbitrary<string>,
): fc.Arbitrary<{ type: string; body: Uint8Array<ArrayBuffer> }> {
  const name = fc.constantFrom('metadata', 'bundle', 'bundle', 'x', '__proto__', '', 'a"; filename="b')
  const end = fc.constantFrom('\r\n', '\r\n', '\r\n', '\r\n', '\n', '')
  const sound = fc.tuple(metadata, bundle).map(([text, bytes]) => [part('metadata', Buffer.from(text)), part('bundle', bytes)])
  const odd = fc.array(
    fc.tuple(name, fc.oneof(bundle, fc.uint8Array({ maxLength: 50 }))).map(([of, bytes]) => part(of, bytes)),
    { maxLength: 4 },
  )
  return fc
    .tuple(
      fc.oneof({ weight: 4, arbitrary: sound }, odd),
      fc.constantFrom('xx', 'xx', 'xx', 'x'.repeat(100), ''),
      end,
      fc.nat(2_000),
      fc.boolean(),
    )
    .map(([parts, boundary, lineEnd, cut, isCut]) => {
      const pieces = parts.flatMap((bytes) => [Buffer.from(`--xx${lineEnd}`), bytes, Buffer.from(lineEnd)])
      const whole = Buffer.concat([...pieces, Buffer.from(`--xx--${lineEnd}`)])
      return { type: `multipart/form-data; boundary=${boundary}`, body: new Uint8Array(isCut ? whole.subarray(0, cut) : whole) }
    })
}

function part(name: string, bytes: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`content-disposition: form-data; name="${name}"; filename="f"\r\n\r\n`), bytes])
}

/** Bundles of which some bytes, or the numbers of their header, are others. */
export function mutatedBundle(sound: Uint8Array): fc.Arbitrary<Uint8Array> {
  const changes = fc.array(fc.tuple(fc.nat(sound.length - 1), fc.nat(255)), { maxLength: 5 })
  const bytes = changes.map((list) => {
    const copy = new Uint8Array(sound)
    for (const [at, value] of list) copy[at] = value
    return copy
  })
  const number = fc.oneof(fc.constantFrom<unknown>(0, -1, 1, 0.5, 1e308, 2 ** 53, null, '5', [], true), fc.nat(300))
  const modules = fc.oneof(fc.constantFrom<unknown>(null, {}, 'x', [[]], [null], [['a.wasm']], [['a.wasm', -1]], [['__proto__', 4]], [[5, 5]], [['a.bin', 4], ['a.bin', 4]]), fc.array(fc.tuple(fc.string(), number), { maxLength: 3 })) // prettier-ignore
  const header = fc.record(
    { async: fc.oneof(fc.boolean(), number), nodejs: fc.boolean(), code: number, sourceMap: number, modules },
    { requiredKeys: ['code'] },
  )
  const rebuilt = fc
    .tuple(header, fc.uint8Array({ maxLength: 300 }))
    .map(([head, rest]) => Buffer.concat([Buffer.from(`skep-bundle 1\n${JSON.stringify(head)}\n`), rest]))
  return fc.oneof(
    bytes,
    rebuilt,
    fc.tuple(bytes, fc.nat(sound.length)).map(([whole, at]) => whole.subarray(0, at)),
  )
}
