import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, readdir, rename, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { skipUnless } from '../../test/services/require.ts'
import { fileError } from './_file-errors.ts'
import { openFileStore } from './file.ts'

async function temporaryFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'skep-file-'))
  t.after(() => rm(folder, { recursive: true }))
  return folder
}

/** Starts the child and waits for its `line`th line. */
async function child(t: TestContext, folder: string, task: string, line: number): Promise<ChildProcess> {
  const process_ = spawn(process.execPath, [join(import.meta.dirname, '_file.child.ts'), folder, task], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(() => process_.kill('SIGKILL'))
  const lines = createInterface(process_.stdout!)
  for (let i = 0; i < line; i++) await once(lines, 'line')
  return process_
}

async function end(process_: ChildProcess): Promise<void> {
  const ended = once(process_, 'exit')
  process_.kill('SIGKILL')
  await ended
}

test('a writer killed in mid-write leaves the old object or the new one', async (t) => {
  const folder = await temporaryFolder(t)
  const store = await openFileStore(folder)
  for (let round = 1; round <= 6; round++) {
    await end(await child(t, folder, 'write', round + 1))
    const object = await store.get('big')
    assert.ok(object && object !== 'unchanged')
    assert.equal(object.bytes.length, 4 << 20)
    assert.ok(Buffer.from(object.bytes).equals(Buffer.alloc(4 << 20, object.bytes[0])))
    assert.deepEqual((await store.list('')).keys, ['big'])
  }
  await store.close()
})

test('the lock of a killed process is free, that of a stopped one is waited for', async (t) => {
  const folder = await temporaryFolder(t)
  const store = await openFileStore(folder, { lockTimeoutMs: 50 })
  await store.put('a', Buffer.from('1'))
  const holder = await child(t, folder, 'hold', 1)
  holder.kill('SIGSTOP')
  await assert.rejects(store.put('a', Buffer.from('2')), {
    code: 'store_unavailable',
    message: /Another process has held .*lock/,
  })
  await assert.rejects(store.delete('a'), { code: 'store_unavailable' })
  assert.ok(await store.get('a'), 'readers need no lock')
  await end(holder)
  await store.put('a', Buffer.from('2'))
  assert.deepEqual(await readdir(join(folder, 'tmp')), [])
  await store.close()
})

test('two stores on one folder in one process take turns', async (t) => {
  const folder = await temporaryFolder(t)
  const stores = [await openFileStore(folder), await openFileStore(folder)]
  const tries = Array.from({ length: 40 }, (_, i) => stores[i % 2]!.put('a', Buffer.from(String(i)), { ifAbsent: true }))
  const results = await Promise.allSettled(tries)
  assert.equal(results.filter((result) => result.status === 'fulfilled').length, 1)
  for (const store of stores) await store.close()
})

test('a full disk is store_full, and leaves the old object', async (t) => {
  const folder = await temporaryFolder(t)
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder], { stdio: 'pipe' })
  } catch (error) {
    return t.skip(skipUnless(`a tmpfs cannot be mounted here: ${(error as Error).message}`) as string)
  }
  const store = await openFileStore(folder)
  try {
    await store.put('a', Buffer.from('1'))
    await assert.rejects(store.put('a', Buffer.alloc(2 << 20)), { code: 'store_full', message: /Free some room/ })
    const object = await store.get('a')
    assert.ok(object && object !== 'unchanged')
    assert.equal(Buffer.from(object.bytes).toString(), '1')
    assert.deepEqual(await readdir(join(folder, 'tmp')), [])
    await store.put('a', Buffer.from('2'))
  } finally {
    await store.close()
    execFileSync('umount', [folder])
  }
})

test('a folder that goes away is store_unavailable, not an empty store', async (t) => {
  const folder = await temporaryFolder(t)
  const store = await openFileStore(folder)
  await store.put('routes/a', Buffer.from('1'))
  await rename(join(folder, 'objects'), join(folder, 'away'))
  for (const attempt of [() => store.get('routes/a'), () => store.list('routes/'), () => store.delete('routes/a')]) {
    await assert.rejects(attempt, { code: 'store_unavailable', message: /mount its volume/ })
  }
  await rename(join(folder, 'away'), join(folder, 'objects'))
  assert.ok(await store.get('routes/a'))
  await store.close()
})

test('a file where the folder should be, and what the operating system refuses, is store_unavailable', async (t) => {
  const folder = await temporaryFolder(t)
  await writeFile(join(folder, 'file'), '')
  await assert.rejects(openFileStore(join(folder, 'file')), { code: 'store_unavailable', message: /ENOTDIR|EEXIST/ })
  for (const code of ['EACCES', 'EPERM', 'EROFS', 'EIO', 'EMFILE', 'ESTALE', 'EWHATEVER']) {
    const error = fileError(Object.assign(new Error(code), { code }), 'write', '/data/x')
    assert.equal(error.code, 'store_unavailable')
    assert.match(error.message, new RegExp(`^Cannot write /data/x: ${code}\\. .+\\.$`))
  }
  assert.equal(fileError(Object.assign(new Error(), { code: 'EDQUOT' }), 'write', '/data/x').code, 'store_full')
})

test('a folder without write permission can be read', async (t) => {
  const folder = await temporaryFolder(t)
  const writer = await openFileStore(folder)
  await writer.put('a', Buffer.from('1'))
  await writer.close()
  const paths = ['objects', 'tmp', '.'].map((name) => join(folder, name))
  for (const path of paths) await chmod(path, 0o555)
  // Root may write everywhere, so for this while the process is somebody else.
  const root = process.geteuid?.() === 0
  if (root) process.seteuid!(65_534)
  try {
    const reader = await openFileStore(folder)
    assert.ok(await reader.get('a'))
    await assert.rejects(reader.put('a', Buffer.from('2')), { code: 'store_unavailable', message: /EACCES/ })
    await reader.close()
  } finally {
    if (root) process.seteuid!(0)
    for (const path of paths.toReversed()) await chmod(path, 0o700)
  }
})

test('old leftovers are swept at open, writes under way and strangers are not touched', async (t) => {
  const folder = await temporaryFolder(t)
  await mkdir(join(folder, 'tmp'))
  for (const name of ['old', 'new']) await writeFile(join(folder, 'tmp', name), 'x')
  await utimes(join(folder, 'tmp/old'), new Date(0), new Date(0))
  const store = await openFileStore(folder)
  assert.deepEqual(await readdir(join(folder, 'tmp')), ['new'])
  await writeFile(join(folder, 'objects/.DS_Store'), '')
  assert.deepEqual(await store.list(''), { keys: [], cursor: undefined })
  await store.close()
})

test('deleting removes empty folders, and never one that another store writes into', async (t) => {
  const folder = await temporaryFolder(t)
  const store = await openFileStore(folder)
  const other = await openFileStore(folder)
  for (let i = 0; i < 50; i++) {
    await store.put('a/b/c/x', Buffer.from('1'))
    await Promise.all([store.delete('a/b/c/x'), other.put('a/b/c/y', Buffer.from('1'))])
    assert.deepEqual((await store.list('')).keys, ['a/b/c/y'])
    await store.delete('a/b/c/y')
    assert.deepEqual(await readdir(join(folder, 'objects')), [])
  }
  await store.close()
  await other.close()
})

test('a big folder is listed from memory while it stands, and read again once it changed', async (t) => {
  const folder = await temporaryFolder(t)
  const store = await openFileStore(folder)
  await store.put('a/0', Buffer.from('1'))
  const names = Array.from({ length: 3_000 }, (_, i) => `a/${i + 10_000}`)
  await Promise.all(names.map((name) => writeFile(join(folder, 'objects', `${name}=`), '')))
  // As if the folder had been at rest for a while.
  await utimes(join(folder, 'objects/a'), new Date(1_000), new Date(1_000))
  const first = await store.list('a/')
  assert.equal(first.keys.length, 1_000)
  assert.equal((await store.list('a/', { cursor: first.cursor! })).keys[0], 'a/10999')
  await store.put('a/10998.5', Buffer.from('1'))
  assert.equal((await store.list('a/', { cursor: first.cursor! })).keys[0], 'a/10998.5')
  await store.close()
})
