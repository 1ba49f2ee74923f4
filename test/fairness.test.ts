import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { Agent } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { createHost } from '../host/index.ts'
import { eventually, get, startServed } from './served.ts'
import type { Served } from './served.ts'

/**
 * A light tenant beside others that use all they can get, on one worker. How much slower it becomes is the bench's to
 * tell (`npm run bench -- fairness`); here it gets every answer, in time of the same order.
 */

const LIGHT = `export default { fetch: () => new Response('light') }`
const SPIN = `export default { fetch() { for (;;); } }`
/** Long, but within its limit: never killed, never punished. */
const BUSY = `export default { fetch() { let x = 0; for (let i = 0; i < 1e7; i++) x = (x + i) | 0; return new Response(String(x)) } }`
const SLOW = `export default { async fetch() { await new Promise((resolve) => setTimeout(resolve, 50)); return new Response('slow') } }`
const SPINNERS = 50
const FLOOD_IN_FLIGHT = 20

let data: string
let served: Served

before(async () => {
  data = await mkdtemp(join(tmpdir(), 'skep-fairness-'))
  const library = await createHost({ data })
  const deploy = (tenant: string, name: string, code: string, limits = {}) =>
    library.deploy(name, { tenant, code, limits, hosts: [`${name}.test`] })
  await deploy('victim', 'light', LIGHT)
  await deploy('heavy', 'busy', BUSY, { cpuMs: 2_000 })
  await deploy('flood', 'slow', SLOW)
  await deploy('flood', 'cheap', LIGHT)
  for (let i = 0; i < SPINNERS; i++) await deploy(`spinner-${i % 10}`, `spin-${i}`, SPIN)
  await library.close()
  const tenants = { flood: { inFlight: FLOOD_IN_FLIGHT } }
  const env = { SKEP_TENANTS: JSON.stringify(tenants) }
  served = await startServed({ data, args: ['--workers', '1', '--log-level', 'error'], env })
})

after(async () => {
  served?.process.kill('SIGKILL')
  await served?.exited
  await rm(data, { recursive: true, force: true })
})

/** Keeps so many requests in flight to each host until it is stopped; how often each outcome came. */
function keepBusy(hosts: string[], atOnce: number) {
  const outcomes = new Map<string, number>()
  const agent = new Agent({ keepAlive: true })
  const retryAfter = new Set<number>()
  const stopping = new AbortController()
  const one = async (host: string) => {
    while (!stopping.signal.aborted) {
      const { status, headers } = await get(served.port, host, '/', { agent }).catch(() => ({ status: 0, headers: {} }) as never)
      if (stopping.signal.aborted) return
      const outcome = String(headers['skep-error'] ?? status)
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
      if (headers['retry-after'] !== undefined) retryAfter.add(Number(headers['retry-after']))
      // What is refused at once would otherwise keep this process busy, and not the host.
      if (status === 429 || status === 503) await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }
  const loops = hosts.flatMap((host) => Array.from({ length: atOnce }, () => one(host)))
  return {
    outcomes,
    retryAfter,
    async stop() {
      stopping.abort()
      // Cuts what is in flight.
      agent.destroy()
      await Promise.all(loops)
    },
  }
}

/** The median time of the victim's requests, all of which must be answered. */
async function askVictim(count: number): Promise<number> {
  const times: number[] = []
  for (let i = 0; i < count; i++) {
    const began = performance.now()
    const { status, text } = await get(served.port, 'light.test', '/')
    times.push(performance.now() - began)
    assert.deepEqual([status, text], [200, 'light'])
  }
  return times.toSorted((a, b) => a - b)[Math.floor(count / 2)]!
}

async function compare(load: () => ReturnType<typeof keepBusy>, isUnderWay: (outcomes: Map<string, number>) => boolean) {
  await askVictim(30)
  const quiet = await askVictim(100)
  const noise = load()
  try {
    await eventually('the others are at work', async () => isUnderWay(noise.outcomes), 60_000)
    const noisy = await askVictim(100)
    // On a machine that others use too, a millisecond says little.
    assert.ok(noisy <= Math.max(20 * quiet, 100), `median ${noisy.toFixed(1)} ms beside the others, ${quiet.toFixed(1)} ms alone`)
  } finally {
    await noise.stop()
  }
  return noise
}

test('beside one function that is busy at its concurrency limit', { timeout: 120_000 }, async () => {
  const { outcomes } = await compare(() => keepBusy(['busy.test'], 40), (outcomes) => (outcomes.get('200') ?? 0) > 2) // prettier-ignore
  assert.ok(outcomes.get('200')! > 2)
})

test('beside fifty functions of ten tenants that spin', { timeout: 120_000 }, async () => {
  const hosts = Array.from({ length: SPINNERS }, (_, i) => `spin-${i}.test`)
  const { outcomes } = await compare(() => keepBusy(hosts, 2), (outcomes) => (outcomes.get('cpu_exceeded') ?? 0) > 5) // prettier-ignore
  assert.equal(outcomes.get('200'), undefined)
  assert.equal(outcomes.get('internal'), undefined)
})

test('beside a flood of one tenant, which is refused what is beyond its bound', { timeout: 120_000 }, async () => {
  const hosts = ['slow.test', 'cheap.test']
  const { outcomes, retryAfter } = await compare(() => keepBusy(hosts, 50), (outcomes) => (outcomes.get('overloaded') ?? 0) > 50 && outcomes.has('200')) // prettier-ignore
  assert.deepEqual([...outcomes.keys()].toSorted(), ['200', 'overloaded'])
  for (const seconds of retryAfter) assert.ok(seconds >= 1 && seconds <= 30)
})

test('a tenant that sends heads and no bodies keeps nobody waiting but itself', { timeout: 60_000 }, async () => {
  const open = Array.from({ length: FLOOD_IN_FLIGHT }, () => {
    const socket = connect(served.port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write('POST / HTTP/1.1\r\nHost: cheap.test\r\nContent-Length: 10\r\n\r\nfive.')
    return socket
  })
  try {
    const status = async () => (await get(served.port, 'cheap.test', '/')).status
    await eventually('they are all in flight', async () => (await status()) === 429)
    await askVictim(20)
  } finally {
    for (const socket of open) socket.destroy()
  }
  await eventually('their places are free again', async () => (await get(served.port, 'cheap.test', '/')).status === 200)
})

test('metrics and API say who it was: the CPU time of killed functions too', { timeout: 60_000 }, async () => {
  const noise = keepBusy(['spin-0.test'], 1)
  try {
    const usage = async (...args: string[]) =>
      JSON.parse(await served.skep('top', '--json', ...args)) as {
        items: { tenant: string; name: string; cpuMsPerSecond: number }[]
      }
    await eventually(
      'a spinner is among those that use the machine',
      async () => (await usage()).items.some(({ name, cpuMsPerSecond }) => name === 'spin-0' && cpuMsPerSecond > 0),
      30_000,
    )
    const own = await usage('--tenant', 'victim')
    assert.ok(own.items.every(({ tenant }) => tenant === 'victim'))
    const read = async () => {
      const metrics = await (await fetch(`http://127.0.0.1:${served.apiPort}/metrics`)).text()
      const killed = /skep_limit_exceeded_total\{function="spinner-0\/spin-0",limit="cpu_exceeded"\} (\d+)/.exec(metrics)
      const cpu = /skep_isolate_cpu_seconds_total\{function="spinner-0\/spin-0"\} ([\d.]+)/.exec(metrics)
      return { killed: Number(killed?.[1] ?? 0), cpu: Number(cpu?.[1] ?? 0) }
    }
    await eventually('some of it were killed', async () => (await read()).killed > 2, 30_000)
    const { killed, cpu } = await read()
    // Each was stopped after its 50 ms; its start takes some more.
    assert.ok(cpu >= killed * 0.04, `${cpu} s of CPU time in ${killed} runs`)
    assert.match(await served.skep('top'), /spinner-0\/spin-0/)
  } finally {
    await noise.stop()
  }
})
