import assert from 'node:assert/strict'
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { ConductBook } from './conduct-book.ts'
import { ConductFile, readConduct } from './conduct-file.ts'
import { configSchema } from './config.ts'
import { silentLog } from './log.ts'
import { FakeClock } from './test-support/clock.ts'

const config = configSchema.parse({})
const log = silentLog()

async function temporaryFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'skep-conduct-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

test('a book comes back as it was', async (t) => {
  const path = join(await temporaryFolder(t), 'data', 'conduct.json')
  assert.deepEqual(await readConduct(path, log), [])
  const book = new ConductBook(config)
  const file = new ConductFile(path, book, log)
  book.offence('acme/f', '1', { kind: 'catastrophic', message: 'a "Map"', alone: false })
  book.offence('acme/g', '1', { kind: 'process_lost', message: 'lost', alone: false })
  book.offence('acme/f', '', { kind: 'catastrophic', message: 'a check', alone: false })
  await file.close()
  const records = await readConduct(path, log)
  assert.deepEqual(
    records,
    book.records().filter(({ version }) => version !== ''),
  )
  assert.deepEqual(await readdir(join(path, '..')), ['conduct.json'], 'nothing else is left')
  const again = new ConductBook(config, { records })
  assert.equal(again.standing('acme/f', '1').state, 'quarantined')
  assert.equal(again.standing('acme/g', '1').state, 'suspected')
})

test('a burst of changes is written once, a moment later', async (t) => {
  const path = join(await temporaryFolder(t), 'conduct.json')
  const clock = new FakeClock()
  const book = new ConductBook(config)
  const file = new ConductFile(path, book, log, clock)
  for (let count = 0; count < 50; count++) book.offence(`acme/f${count}`, '1', { kind: 'unstoppable', message: '', alone: true })
  await assert.rejects(readFile(path), { code: 'ENOENT' })
  await clock.pass(500)
  await file.close()
  assert.equal((await readConduct(path, log)).length, 50)
})

for (const [what, text] of [
  ['cut off', '{"records":[{"name":'],
  ['of another shape', '{"records":[{"name":"acme/f"}]}'],
  ['no JSON', '\u0000\u0000'],
  ['a list', '[]'],
  ['of an unknown state', '{"records":[{"name":"a/b","version":"1","state":"free","since":0,"until":0}]}'],
] as const) {
  test(`a file that is ${what} is put aside with a warning`, async (t) => {
    const path = join(await temporaryFolder(t), 'conduct.json')
    await writeFile(path, text)
    assert.deepEqual(await readConduct(path, log), [])
    assert.equal(await readFile(`${path}.damaged`, 'utf8'), text)
    await assert.rejects(readFile(path), { code: 'ENOENT' })
  })
}

test('a folder that cannot be written to costs the memory of the next start, and nothing else', async (t) => {
  const folder = await temporaryFolder(t)
  await writeFile(join(folder, 'taken'), '')
  const book = new ConductBook(config)
  const file = new ConductFile(join(folder, 'taken', 'conduct.json'), book, log)
  book.offence('acme/f', '1', { kind: 'unstoppable', message: '', alone: true })
  await file.close()
  assert.equal(book.standing('acme/f', '1').state, 'quarantined')
})
