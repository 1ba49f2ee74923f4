import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseProject } from './project-file.ts'

const parse = (text: string, env: Record<string, string> = {}) => parseProject(text, 'skep.yaml', env)

function mistakes(text: string, env: Record<string, string> = {}): string[] {
  try {
    parse(text, env)
  } catch (error) {
    assert.equal((error as { code: string }).code, 'invalid_config')
    return (error as Error).message.split('\n')
  }
  return assert.fail(`accepted: ${text}`)
}

test('functions with all that is supported, and the defaults', () => {
  const text = `
functions:
  hello:
    main: src/index.ts
    hosts: [Hello.localhost, '*.example.com']
    vars: { GREETING: hi }
    nodejs: true
    limits: { cpuMs: 20 }
  bare:
    main: bare.ts
`
  assert.deepEqual(parse(text), [
    {
      name: 'hello',
      main: 'src/index.ts',
      hosts: ['Hello.localhost', '*.example.com'],
      vars: { GREETING: 'hi' },
      nodejs: true,
      limits: { cpuMs: 20 },
    },
    { name: 'bare', main: 'bare.ts', hosts: [], vars: {}, nodejs: false, limits: {} },
  ])
})

test('variables of the environment, in values alone, and never as YAML', () => {
  const text = `
functions:
  hello:
    main: \${MAIN:-index.ts}
    vars:
      A: "\${A}"
      B: x\${A}-\${EMPTY:-none}y
      C: $\${A}
      D: \${EMPTY}
    limits:
      cpuMs: \${CPU}
`
  const env = { A: 'a: [1]\nnodejs: true # ${MAIN}', CPU: '25', EMPTY: '' }
  const [hello] = parse(text, env)
  assert.deepEqual(hello!.vars, { A: env.A, B: `x${env.A}-noney`, C: '${A}', D: '' })
  assert.deepEqual([hello!.main, hello!.limits, hello!.nodejs], ['index.ts', { cpuMs: 25 }, false])
  assert.match(mistakes('functions:\n  a:\n    main: ${NOPE}\n')[0]!, /^skep.yaml:3: the environment has no variable NOPE/)
  assert.match(mistakes('functions:\n  a:\n    main: ${1x}\n')[0]!, /^skep.yaml:3: \$\{1x\} is no variable/)
  assert.match(mistakes('functions:\n  a:\n    main: "${A"\n')[0]!, /^skep.yaml:3: \$\{A is no variable/)
})

test('unknown keys name line and nearest key', () => {
  assert.deepEqual(mistakes('functions:\n  hello:\n    mian: x\n'), [
    'skep.yaml:2: functions.hello.main is missing.',
    'skep.yaml:3: unknown key functions.hello.mian. Did you mean main?',
  ])
  assert.deepEqual(mistakes('function:\n  a: {main: x}\n').at(-1), 'skep.yaml:1: unknown key function. Did you mean functions?')
  assert.deepEqual(mistakes('functions:\n  a:\n    main: x\n    limits:\n      cpums: 5\n'), [
    'skep.yaml:5: unknown key functions.a.limits.cpums. Did you mean cpuMs?',
  ])
})

test('keys of the format that come later are refused, not ignored', () => {
  for (const key of ['secrets: [A]', 'triggers: [{cron: "* * * * *"}]', 'bindings: {}']) {
    const name = key.split(':')[0]!
    assert.deepEqual(mistakes(`functions:\n  a:\n    main: x\n    ${key}\n`), [
      `skep.yaml:4: ${name} is not supported yet by this version of skep. Take it out to deploy a.`,
    ])
  }
})

test('values of the wrong kind, bad names and bad hostnames', () => {
  const a = (rest: string) => mistakes(`functions:\n  a:\n    main: x\n    ${rest}\n`)[0]!
  assert.match(a('nodejs: maybe'), /^skep.yaml:4: functions.a.nodejs must be true or false, not "maybe"/)
  assert.match(a('limits: {cpuMs: fast}'), /^skep.yaml:4: functions.a.limits.cpuMs must be a number from 1 to 600000, not "fast"/)
  assert.match(a('vars: {A: 1}'), /^skep.yaml:4: functions.a.vars.A must be text, not 1/)
  assert.match(a('vars: {"a b": x}'), /^skep.yaml:4: /)
  assert.match(a('hosts: ["http://x"]'), /^skep.yaml:4: functions.a.hosts.0: "http:\/\/x" is no hostname/)
  assert.match(a('hosts: x'), /^skep.yaml:4: functions.a.hosts must be a list, not "x"/)
  assert.match(mistakes('functions:\n  ../a: {main: x}\n')[0]!, /^skep.yaml:2: "..\/a" is no function name/)
  assert.match(mistakes('')[0]!, /functions is missing/)
  assert.match(mistakes('functions: {}')[0]!, /functions has no function/)
  assert.match(mistakes('functions:\n  a: [\n')[0]!, /^skep.yaml:\d+:\d+: /)
})

test('aliases that lead nowhere, into themselves or to too much, and nesting without end, are mistakes', () => {
  const laughs = Array.from(
    { length: 12 },
    (_, i) =>
      `  a${i}: &a${i} [${
        i === 0
          ? 'x'
          : Array(9)
              .fill(`*a${i - 1}`)
              .join()
      }]`,
  )
  const bad: [string, RegExp][] = [
    ['functions: *nothing\n', /skep\.yaml: .*alias/],
    ['functions: &a [*a]\n', /within what it stands for/],
    [`functions:\n${laughs.join('\n')}\n`, /Excessive alias count/],
    [`functions: ${'['.repeat(200)}${']'.repeat(200)}\n`, /more than 50 levels deep/],
    [`functions: ${'{a: '.repeat(20_000)}`, /skep\.yaml/],
  ]
  for (const [text, expected] of bad) assert.match(mistakes(text)[0]!, expected)
  const many = mistakes(`functions:\n  a:\n    main: x\n${Array.from({ length: 500 }, (_, i) => `    k${i}: 1`).join('\n')}\n`)
  assert.deepEqual([many.length, many.at(-1)], [51, '… and more.'])
  const same = 'functions:\n  a: &a { main: x }\n  b: *a\n'
  assert.deepEqual(parse(same).map(({ name, main }) => name + main), ['ax', 'bx']) // prettier-ignore
})
