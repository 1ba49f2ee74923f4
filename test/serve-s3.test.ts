import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { missingS3, startS3 } from './services/s3.ts'
import type { S3Service } from './services/s3.ts'
import { skipUnless } from './services/require.ts'
import { eventually, startServed, temporaryFolder } from './served.ts'
import type { Served } from './served.ts'

const HELLO = 'export default { fetch: (request, env) => new Response(`hello ${env.NAME}`) }'

test('two hosts on one S3 bucket, and the bucket goes away and comes back', { skip: skipUnless(missingS3()) }, async (t) => {
  const folder = await temporaryFolder(t)
  const s3 = await startS3()
  const hosts: Served[] = []
  t.after(async () => {
    s3.resume()
    await Promise.all(hosts.map((served) => served.stop()))
    await s3.stop()
  })
  await writeFile(join(folder, 'hello.js'), HELLO)
  const first = await host(s3, join(folder, 'one'))
  hosts.push(first)
  const deploy = (name: string, fn = 'hello') =>
    first.skep('deploy', join(folder, 'hello.js'), '--name', fn, '--host', `${fn}.localhost`, '--var', `NAME=${name}`)
  await deploy('one')
  const second = await host(s3, join(folder, 'two'))
  hosts.push(second)
  const secondSays = async () => (await second.get('hello.localhost')).text

  await t.test('a new version reaches the other host within two seconds', async () => {
    assert.equal(await secondSays(), 'hello one')
    await deploy('two')
    await eventually('the other host has the new version', async () => (await secondSays()) === 'hello two', 2000)
    assert.equal((await first.get('hello.localhost')).text, 'hello two')
  })

  await t.test('while the bucket is away, loaded functions answer and others say what is wrong', async () => {
    await deploy('cold', 'cold')
    await s3.kill()
    const began = performance.now()
    for (let i = 0; i < 20; i++) assert.equal(await secondSays(), 'hello two')
    // Past the time for which a cached route is used unasked.
    await new Promise((resolve) => setTimeout(resolve, 2500))
    for (let i = 0; i < 20; i++) assert.equal(await secondSays(), 'hello two')
    assert.ok(performance.now() - began < 10_000)
    const cold = await second.get('cold.localhost')
    assert.deepEqual([cold.status, cold.headers['skep-error'], cold.text], [503, 'store_unavailable', 'Service Unavailable'])
    await assert.rejects(deploy('lost'), /store_unavailable/)
  })

  await t.test('a bucket that hangs does not make callers of loaded functions wait', async () => {
    await s3.restart()
    await eventually('the store is back', async () => (await second.get('cold.localhost')).status === 200)
    await s3.pause()
    t.after(() => s3.resume())
    await new Promise((resolve) => setTimeout(resolve, 2500))
    const began = performance.now()
    for (let i = 0; i < 20; i++) assert.equal(await secondSays(), 'hello two')
    assert.ok(performance.now() - began < 3000, `20 answers took ${performance.now() - began} ms`)
    s3.resume()
  })

  await t.test('once it is back, deploys work and nothing half-written is there', async () => {
    await eventually('a deploy works', () =>
      deploy('three').then(
        () => true,
        () => false,
      ),
    )
    await eventually('the other host has it', async () => (await secondSays()) === 'hello three', 2500)
  })
})

function host(s3: S3Service, data: string): Promise<Served> {
  return startServed({
    data,
    args: ['--workers', '1', '--store', `s3://${s3.bucket}/skep`],
    env: {
      SKEP_S3_ENDPOINT: s3.endpoint,
      SKEP_S3_REGION: s3.region,
      AWS_ACCESS_KEY_ID: s3.credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: s3.credentials.secretAccessKey,
    },
  })
}
