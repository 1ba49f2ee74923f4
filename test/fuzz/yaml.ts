import * as fc from 'fast-check'
import { stringify } from 'yaml'

/** Texts that may be YAML, and may be a bomb. */

const TOKENS = [
  '- ', ': ', '? ', '{', '}', '[', ']', ',', '&a ', '*a', '&a', '<<: ', '<<: *a', '!!js/function ', '!!binary ', '!!set ', '!!omap ', '!!float ', '!!str ', '!!map ', '!<x> ', '!x ', '|', '>', '|-\n', '>+9\n', '---\n', '...\n',
  '%YAML 1.1\n', '%TAG ! x\n', '#', ' # x', '\n', '\n  ', '\n    ', '\n\t', '\t', '\r\n', '\r', '"', "'", '\\', '\\x', '\\u0000', '"\\ud800"', '\0', '\x07', '\x7f', '\u2028', '\ufeff', '\ud800', '~', 'null', 'true', '.nan', '.inf', '-.inf', '0x1f', '0o17', '1e999',
  '9007199254740993', '123456789012345678901234567890', '-0', '2001-01-01', '=', '@', '`', '%', '${HOME}', '${X:-y}', '${', '$${', '${}', '__proto__', 'constructor', 'toString', 'hasOwnProperty',
] // prettier-ignore

const NAMES = [
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'hasOwnProperty',
  '',
  ' ',
  'a.b',
  '0',
  '-1',
  'null',
  'é',
  'x'.repeat(300),
]

/** Values that no schema asks for. */
export const oddValue: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    false,
    NaN,
    Infinity,
    -Infinity,
    -0,
    0,
    -1,
    0.5,
    1e308,
    2 ** 53,
    '',
    ' ',
    '\0',
    '${NONE}',
    '1e3',
    '0x10',
    'NaN',
  ),
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.double(),
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom(...NAMES).map((name) => Object.fromEntries([[name, { limits: 1 }]]) as unknown),
)

/** Text that is made of pieces of YAML and of the format's own keys. */
export function soup(keys: readonly string[]): fc.Arbitrary<string> {
  const piece = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...TOKENS) },
    { weight: 3, arbitrary: fc.constantFrom(...keys).map((key) => `${key}: `) },
    { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 8 }) },
  )
  return fc.array(piece, { maxLength: 40 }).map((pieces) => pieces.join(''))
}

/** A document of the format in which some values, keys or both are others. */
export function mutated(sound: object): fc.Arbitrary<string> {
  const paths = pathsOf(sound)
  const change = fc.record({ path: fc.constantFrom(...paths), value: oddValue, name: fc.option(fc.constantFrom(...NAMES)) })
  return fc.tuple(fc.array(change, { minLength: 1, maxLength: 4 }), fc.boolean()).map(([changes, isJson]) => {
    const document = structuredClone(sound) as Record<string, unknown>
    for (const { path, value, name } of changes) change_(document, path, value, name)
    return isJson ? JSON.stringify(document) : stringify(document)
  })
}

function change_(document: Record<string, unknown>, path: string[], value: unknown, name: string | null): void {
  let at: unknown = document
  for (const key of path.slice(0, -1)) {
    if (typeof at !== 'object' || at === null) return
    at = (at as Record<string, unknown>)[key]
  }
  if (typeof at !== 'object' || at === null) return
  Object.defineProperty(at, name ?? path.at(-1)!, { value, enumerable: true, configurable: true, writable: true })
}

function pathsOf(value: unknown, before: string[] = []): string[][] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, inner]) => [[...before, key], ...pathsOf(inner, [...before, key])])
}

/** Small texts that stand for much: aliases of aliases, nesting without end. */
export function bombs(prefix: string): Record<string, string> {
  const laughs = Array.from(
    { length: 30 },
    (_, i) =>
      `  a${i}: &a${i} [${
        i === 0
          ? 'x'
          : Array(9)
              .fill(`*a${i - 1}`)
              .join()
      }]`,
  )
  const merges = Array.from({ length: 25 }, (_, i) => `  m${i}: &m${i} { ${i === 0 ? 'k: x' : `<<: [*m${i - 1}, *m${i - 1}]`} }`)
  return {
    'a billion laughs': `${prefix}\n${laughs.join('\n')}\n`,
    'a billion laughs in the key': `? &a [x]\n: *a\n${prefix}\n${laughs.join('\n')}\n? *a9\n: x\n`,
    'merge keys': `%YAML 1.1\n---\n${prefix}\n${merges.join('\n')}\n`,
    'an anchor within itself': `${prefix} &a\n  x: *a\n`,
    'a list within itself': `${prefix} &a [*a, *a]\n`,
    'an alias of nothing': `${prefix} *nothing\n`,
    'deep flow lists': `${prefix} ${'['.repeat(20_000)}`,
    'deep closed flow lists': `${prefix} ${'['.repeat(5_000)}${']'.repeat(5_000)}`,
    'deep flow maps': `${prefix} ${'{a: '.repeat(20_000)}`,
    'deep block lists': `${prefix} \n  ${'- '.repeat(5_000)}x`,
    'deep block maps': Array.from({ length: 1_000 }, (_, i) => `${' '.repeat(i)}a:`).join('\n'),
    'explicit keys': '? '.repeat(5_000),
    'many keys': `${prefix}\n${Array.from({ length: 3_000 }, (_, i) => `  k${i}: ${i}`).join('\n')}`,
    'one key many times': `${prefix}\n${'  k: 1\n'.repeat(3_000)}`,
    'many documents': '---\n'.repeat(10_000),
    'many anchors': Array.from({ length: 10_000 }, (_, i) => `- &a${i} x`).join('\n'),
    'a long line': `${prefix} ${'x'.repeat(3_000_000)}`,
    'a long number': `${prefix} ${'9'.repeat(200_000)}`,
    'a long key': `${'k'.repeat(3_000)}: x\n${prefix} {}`,
    'quotes that do not end': `${prefix} "${'\\n'.repeat(100_000)}`,
    'a block that is all spaces': `${prefix} |\n${' '.repeat(1_000_000)}`,
    'tabs': '\t'.repeat(100_000), // prettier-ignore
    'tags': `${'!!map '.repeat(5_000)}{}`, // prettier-ignore
    'comments': '#'.repeat(1_000_000), // prettier-ignore
    'a prototype': `${prefix}\n  __proto__: { polluted: true, limits: { cpuMs: 1 } }\n__proto__: { polluted: true }\nconstructor: { prototype: { polluted: true } }\n`,
    'variables in variables': `${prefix} "${'${A:-'.repeat(5_000)}x${'}'.repeat(5_000)}"`,
    'variables': `${prefix} "${'${NONE}'.repeat(2_000)}"`, // prettier-ignore
  }
}
