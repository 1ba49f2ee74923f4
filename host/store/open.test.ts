import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openStore } from './open.ts'

test('opens a folder and a bucket, whether or not the bucket answers', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'skep-open-'))
  const file = await openStore(`file:${folder}/a`)
  assert.equal(file.description, `file:${folder}/a`)
  assert.equal((await openStore(`file://${folder}/a`)).description, `file:${folder}/a`)
  await file.close()
  await rm(folder, { recursive: true })
  for (const [given, said] of [
    ['s3://bucket', 's3://bucket'],
    ['s3://bucket/', 's3://bucket'],
    ['s3://bucket/some/prefix/', 's3://bucket/some/prefix'],
  ] as const) {
    const store = await openStore(given, { s3: { endpoint: 'http://127.0.0.1:1', region: 'us-east-1' } })
    assert.equal(store.description, said)
    await store.close()
  }
})

test('refuses every other description and says what is allowed', async () => {
  const wrong = [
    '',
    'data',
    '/data',
    'file:',
    'file:~/data',
    'file://host/data',
    'file:a\0b',
    'http://bucket',
    's3:bucket',
    's3://',
  ]
  wrong.push(
    's3:///prefix',
    's3://b?region=x',
    's3://bucket/a?endpoint=x',
    's3://bucket//a',
    's3://bucket/../a',
    `s3://bucket/${'a/'.repeat(130)}`,
  )
  for (const description of wrong) {
    await assert.rejects(openStore(description), (error: Error & { code: string; details: unknown }) => {
      assert.equal(error.code, 'invalid_config', description)
      assert.match(error.message, /Allowed are file:DIR and s3:\/\/BUCKET\/PREFIX\./)
      assert.deepEqual(error.details, { allowed: ['file:DIR', 's3://BUCKET/PREFIX'] })
      return true
    })
  }
})

test('a folder does not load the AWS SDK', () => {
  const script = `
    const { registerHooks } = await import('node:module')
    const loaded = []
    registerHooks({ load(url, context, next) { loaded.push(url); return next(url, context) } })
    const { openStore } = await import(${JSON.stringify(new URL('open.ts', import.meta.url).href)})
    console.log(loaded.filter((url) => /@aws-sdk|@smithy/.test(url)).length, loaded.some((url) => url.endsWith('/file.ts')))`
  const said = execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' })
  assert.equal(said.trim(), '0 true')
})
