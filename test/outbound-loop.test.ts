import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { createHost } from '../host/index.ts'
import type { Host } from '../host/index.ts'
import { MOST_PASSES } from '../host/loop.ts'
import { send } from './http-client.ts'

/** Functions that ask themselves through the data port, on one host and over two hosts of one store: it ends by itself. */

const LOOPS = `
let calls = 0
export default {
  async fetch(request) {
    const url = new URL(request.url)
    if (url.pathname === '/calls') { const n = calls; calls = 0; return new Response(String(n)) }
    if (url.pathname === '/none') return new Response()
    calls++
    const ports = url.searchParams.get('ports').split(',')
    const next = new URL(request.url)
    next.port = ports[0]
    next.searchParams.set('ports', [...ports.slice(1), ports[0]].join())
    if (url.pathname === '/forged') {
      // Neither another field of that name nor an await that loses the event takes away how far it has come.
      await Promise.all([new Promise((r) => setTimeout(r, 5)), fetch(next.origin + '/none')])
    }
    const headers = url.pathname === '/forged' ? { 'cdn-loop': 'other', connection: 'cdn-loop' } : request.headers
    const fanOut = url.pathname === '/fan' ? 3 : 1
    const answers = await Promise.all(Array.from({ length: fanOut }, () => fetch(next, { headers })))
    return new Response(answers.map((answer) => answer.status === 200 ? '' : answer.headers.get('skep-error')).join('') + await answers[0].text())
  }
}`

let folder: string
const hosts: Host[] = []
const ports: number[] = []

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'skep-loop-'))
  for (let i = 0; i < 2; i++) {
    const host = await createHost({ store: `file:${folder}`, egress: { allow: ['127.0.0.1'] } })
    hosts.push(host)
    ports.push((await host.listen({ port: 0 })).port)
  }
  await hosts[0]!.deploy('loop', { code: LOOPS, hosts: ['loop.localhost'] })
})

after(async () => {
  for (const host of hosts) await host.close()
  await rm(folder, { recursive: true, force: true })
})

const ask = (path: string, headers: Record<string, string> = {}) => send(ports[0]!, 'loop.localhost', path, { headers })
const calls = async () => {
  let sum = 0
  for (const port of ports) sum += Number((await send(port, 'loop.localhost', '/calls')).text)
  return sum
}

test('a function that asks itself for ever is stopped, on one host and over two', { timeout: 60_000 }, async () => {
  for (const way of [`${ports[0]}`, `${ports[1]},${ports[0]}`]) {
    const answer = await ask(`/?ports=${way}`)
    assert.deepEqual([answer.status, await calls()], [200, MOST_PASSES])
    assert.match(answer.text, /loop_detected/)
  }
})

test('one that asks itself three times each time is stopped as well', { timeout: 60_000 }, async () => {
  assert.equal((await ask(`/fan?ports=${ports[0]}`)).status, 200)
  assert.equal(await calls(), 1 + 3 + 9 + 27)
})

test('one that hides where it comes from is stopped as well', { timeout: 60_000 }, async () => {
  const answers = await Promise.all(Array.from({ length: 3 }, () => ask(`/forged?ports=${ports[0]}`)))
  for (const { status } of answers) assert.equal(status, 200)
  assert.ok((await calls()) <= 3 * MOST_PASSES)
})

test('a caller that has come through others is served', { timeout: 60_000 }, async () => {
  const answer = await ask('/calls', {
    'cdn-loop': 'cloudflare, fastly, skep-000000000000, skep-000000000000, skep-000000000000, skep-1',
  })
  assert.equal(answer.status, 200)
})
