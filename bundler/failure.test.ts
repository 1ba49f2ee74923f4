import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { bundle } from './bundle.ts'
import { failure, make, run, scratch } from './_fixture.ts'

describe('errors', () => {
  test('name file, line and column, show the line, and all are reported', async () => {
    const { message, errors } = await failure(
      make({
        'src/index.ts': `import './first'\nexport { default } from './other'`,
        'src/first.ts': `\nexport default {\n\té: 'é' x }\n`,
        'src/other.ts': `let z\nlet z; let z\n`,
      }),
    )
    assert.match(message, /^Cannot bundle src\/index\.ts \(3 errors\):/)
    assert.ok(message.includes(`src/first.ts:3:9: Expected "}" but found "x"\n  \té: 'é' x }\n  \t       ^`), message)
    assert.ok(message.includes(`src/other.ts:2:5: The symbol "z" has already been declared\n  let z; let z\n      ^`), message)
    assert.equal(errors[0]!.lineText, `\té: 'é' x }`)
    const unresolved = await failure(
      make({ 'i.ts': `import a from './missing.js'\nimport b from '@scope/pkg/sub'\nexport default [a, b]` }),
    )
    assert.deepEqual(
      unresolved.errors.map(({ file, line, column, text, notes }) => ({ file, line, column, text, notes })),
      [
        { file: 'i.ts', line: 1, column: 15, text: 'Could not resolve "./missing.js"', notes: [] },
        {
          file: 'i.ts',
          line: 2,
          column: 15,
          text: 'Could not resolve "@scope/pkg/sub"',
          notes: ['If it is a package of npm, install it: npm install @scope/pkg'],
        },
      ],
    )
  })

  test('a missing default export', async () => {
    for (const code of ['export const fetch = 1', '', 'console.log(1)', 'export const x = await 1', 'export type X = 1']) {
      const { message, errors } = await failure(make({ 'src/i.ts': code }))
      assert.match(message, /src\/i\.ts:1:1: The function has no default export/, code)
      assert.equal(errors.length, 1)
    }
  })

  test('a missing file, a folder, a file of an unknown kind', async () => {
    const missing = await failure(bundle({ main: join(scratch, 'nowhere/index.ts') }))
    assert.match(missing.message, /nowhere\/index\.ts: there is no such file\.$/)
    assert.equal(missing.errors[0]!.text, 'there is no such file')
    assert.match((await failure(bundle({ main: scratch }))).message, /it is not a file/)
    assert.match((await failure(make({ 'i.weird': 'x' }))).message, /No loader is configured for "\.weird" files/)
  })

  test('modules of Node.js', async () => {
    const code = `import path from 'node:path'\nimport fs from 'fs'\nexport default { path, fs }`
    const { message } = await failure(make({ 'i.ts': code }))
    assert.match(message, /i\.ts:1:18: "node:path" is a module of Node\.js that this version of skep does not have yet/)
    assert.match(message, /i\.ts:2:16: "fs" is a module of Node\.js that functions do not have/)
    // A package of the same name is what the import means.
    const files = { 'i.ts': `import x from 'events'; export default x`, 'node_modules/events/index.js': `module.exports = 'npm'` }
    assert.equal((await run(files)).default, 'npm')
    // A library that only tries is left to try.
    const tried = await run({ 'i.js': `let fs; try { fs = require('fs') } catch { fs = 'none' }; export default { fs }` })
    assert.equal(tried.default.fs, 'none')
  })

  test('an import of a URL', async () => {
    const { message } = await failure(make({ 'i.ts': `import x from 'https://esm.sh/x'\nexport default x` }))
    assert.match(message, /i\.ts:1:15: Cannot import the URL "https:\/\/esm\.sh\/x"/)
  })

  test('long lines and control characters do not spoil the terminal', async () => {
    const { message } = await failure(make({ 'i.js': `${'a;'.repeat(50_000)}let \x1b[31m = 1;${'b;'.repeat(50_000)}` }))
    assert.ok(message.length < 1000)
    assert.ok(!message.includes('\x1b'))
    const many = await failure(make({ 'i.js': `let z\n`.repeat(1000) }))
    assert.ok(many.message.length < 30_000)
    assert.match(many.message, /… and 899 more$/)
  })

  test('a bundle over the limit names its biggest parts', async () => {
    const files = {
      'i.ts': `import a from './a.txt'; import b from './b.bin'; import './c.ts'; export default { a, b }`,
      'a.txt': 'a'.repeat(300_000),
      'b.bin': new Uint8Array(500_000),
      'c.ts': 'console.log(1)',
    }
    const { message, details } = await failure(make(files, { maxBytes: 700_000 }), 'bundle_too_large')
    assert.match(
      message,
      /^The bundle has .* the limit is 683\.6 kB\. The biggest parts:\n +488\.3 kB {2}[0-9a-f]{32}-b\.bin\n +293\.0 kB {2}a\.txt/,
    )
    assert.equal(details.allowed, 700_000)
    await failure(
      make({ 'i.ts': `import a from './a.txt'; export default a`, 'a.txt': 'é'.repeat(6_000_000) }),
      'bundle_too_large',
    )
  })

  test('a hostile package.json ends neither the process nor the build after it', async () => {
    const index = `import x from 'x'; export default x`
    const hostile = [
      '{"main":"../../../../../../../etc/passwd"}',
      '{"exports":{".":{"default":"../../../../etc/passwd"}}}',
      '{"exports":' + '{"a":'.repeat(5000) + '1' + '}'.repeat(5000) + '}',
      '{"name":{},"main":[],"browser":{"x":"x"},"sideEffects":{"a":1},"type":7,"exports":[[[]]],"imports":"#"}',
      '{"main":"./index","browser":{"./index":"./index","./a":"./b","./b":"./a"}}',
      '{',
      '\0\0\0',
    ]
    for (const json of hostile) await failure(make({ 'i.js': index, 'node_modules/x/package.json': json }))
    assert.equal(
      (await run({ 'i.js': 'export default 1', 'package.json': '{"type":"module","imports":{"#a":"#a"}}' })).default,
      1,
    )
    await failure(make({ 'i.js': `import '#a'; export default 1`, 'package.json': '{"imports":{"#a":"#b","#b":"#a"}}' }))
  })
})
