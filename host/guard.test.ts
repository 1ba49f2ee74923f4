import assert from 'node:assert/strict'
import { test } from 'node:test'
import { configSchema } from './config.ts'
import { guardMemory, kernelBound, memoryBounds } from './guard.ts'
import { FakeClock } from './test-support/clock.ts'

const MB = 1_048_576

function guard(largest?: string) {
  const clock = new FakeClock()
  const heard: string[] = []
  const process = { rssBytes: 0 }
  guardMemory(
    {
      rssBytes: () => process.rssBytes,
      shed: () => heard.push('shed'),
      retireLargest: () => {
        heard.push('retire')
        return largest === undefined ? undefined : { name: largest }
      },
      over: (rssBytes, name) => heard.push(`over ${rssBytes} ${name}`),
    },
    { soft: 850, hard: 1_000 },
    clock,
  )
  return { clock, heard, process }
}

test('up to its soft bound nothing happens', async () => {
  const { clock, heard, process } = guard()
  process.rssBytes = 850
  await clock.pass(10_000)
  assert.deepEqual(heard, [])
})

test('above it, memory is given back once a second until it is below again', async () => {
  const { clock, heard, process } = guard('acme/f')
  process.rssBytes = 851
  await clock.pass(999)
  assert.deepEqual(heard, [])
  await clock.pass(1)
  assert.deepEqual(heard, ['shed', 'retire'])
  await clock.pass(1_000)
  assert.deepEqual(heard, ['shed', 'retire', 'shed', 'retire'])
  process.rssBytes = 100
  await clock.pass(10_000)
  assert.equal(heard.length, 4)
  process.rssBytes = 1_000
  await clock.pass(1_000)
  assert.deepEqual(heard.slice(4), ['shed', 'retire'], 'the hard bound itself is no reason to replace it')
})

test('above its hard bound it is to be replaced, which is said once, with what held most', async () => {
  const { clock, heard, process } = guard('acme/f')
  process.rssBytes = 1_001
  await clock.pass(10_000)
  assert.deepEqual(heard, ['shed', 'retire', 'over 1001 acme/f'])
})

test('and also where no function holds anything', async () => {
  const { clock, heard, process } = guard()
  process.rssBytes = 1_001
  await clock.pass(1_000)
  assert.deepEqual(heard, ['shed', 'retire', 'over 1001 '])
})

test('bounds: the operator’s, or a share of the machine and never too little', () => {
  const own = memoryBounds(configSchema.parse({ guard: { rssMb: 200 } }))
  assert.deepEqual(own, { soft: 170 * MB, hard: 200 * MB })
  const [one, two, many] = [1, 2, 1_024].map((workers) => memoryBounds(configSchema.parse({ workers })).hard)
  assert.ok(one! >= two! && two! >= many!)
  assert.equal(many, 1_024 * MB)
})

test('the kernel’s bound leaves room for what the largest function may take at once', () => {
  const bound = (config: object) => kernelBound(configSchema.parse(config), 1_000 * MB) / MB
  assert.equal(bound({ ceilings: { memoryMb: 128 } }), 1_000 + 160 + 256)
  assert.equal(bound({ ceilings: { memoryMb: 512 } }), 1_000 + 640 + 1_024)
  assert.equal(bound({ ceilings: { memoryMb: 64 }, tenants: { acme: { ceilings: { memoryMb: 512 } } } }), 1_000 + 640 + 1_024)
  assert.equal(bound({ limits: { memoryMb: 1_024 }, ceilings: { memoryMb: 64 } }), 1_000 + 1_280 + 2_048)
})
