import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createStackMapper } from './source-map.ts'

const NAME = 'file:///bundle.js'
// Line 1: column 0 is src/a.ts 1:0, column 10 is src/a.ts 3:4.
const MAP = JSON.stringify({ version: 3, sources: ['src/a.ts'], sourcesContent: [''], names: [], mappings: 'AAAA,UAEI' })

test('every form of frame is rewritten', () => {
  const map = createStackMapper(MAP, NAME)
  const frames = [
    'at f (@)',
    'at @',
    'at async f (@)',
    'at async @',
    'at new F (@)',
    'at Object.g [as h] (@)',
    'at eval (eval at f (@), <anonymous>:1:1)',
  ]
  for (const frame of frames) {
    assert.equal(
      map(`Error: x\n    ${frame.replace('@', `${NAME}:1:12`)}`),
      `Error: x\n    ${frame.replace('@', 'src/a.ts:3:5')}`,
    )
  }
})

test('frames of skep are dropped, others and the message are kept', () => {
  const map = createStackMapper(MAP, NAME)
  const stack = [
    'Error: in file:///bundle.js:1:12 and file:///skep/x',
    `    at f (${NAME}:1:1)`,
    '    at Promise.then (<anonymous>)',
    '    at dispatch (file:///skep/guest.js:1:2)',
    '    at (<isolated-vm boundary>)',
    `    at unmapped (${NAME}:99:1)`,
    `    at other (file:///bundle.jsx:1:1)`,
  ]
  assert.equal(map(stack.join('\n')), [stack[0], '    at f (src/a.ts:1:1)', stack[2], stack[5], stack[6]].join('\n'))
})

test('nothing hostile throws, or is passed on at length', () => {
  const frame = `    at f (${NAME}:1:1)`
  const maps = ['', 'garbage', '{}', 'null', '[]', '{"version":3,"sources":[1,{}],"mappings":"AAAA","names":[]}']
  maps.push('{"version":3,"sources":["a"],"mappings":"!!!!,zzzzzzzzzzzz","names":[]}', '{"version":3,"sections":[]}')
  maps.push('{"version":3,"sources":["a"],"mappings":"AEAA","names":[]}')
  for (const json of maps) assert.ok(createStackMapper(json, NAME)(frame).startsWith('    at f ('), json)
  const sneaky = JSON.stringify({ version: 3, sources: [`a\n\u001b[2Jforged${'x'.repeat(1e6)}`], names: [], mappings: 'AAAA' })
  const mapped = createStackMapper(sneaky, NAME)(frame)
  assert.ok(mapped.length < 400 && !/\p{Cc}/u.test(mapped))

  const map = createStackMapper(MAP, NAME)
  const started = performance.now()
  assert.ok(map(`${frame}\n`.repeat(100_000)).split('\n').length <= 200)
  assert.ok(map(frame.repeat(1_000_000)).length <= 65_536)
  map(`    at ${' '.repeat(1_000_000)}${'('.repeat(100_000)}`)
  assert.ok(performance.now() - started < 2000)
  for (const stack of [`    at ${NAME}:0:0`, `    at ${NAME}:999999999:999999999`, '', '\0', undefined, 7, {}]) {
    assert.equal(typeof map(stack as string), 'string')
  }
})
