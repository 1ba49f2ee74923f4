import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { createHost } from '../host/index.ts'
import { CERTIFICATE } from './sandbox/certificate.ts'
import { send } from './http-client.ts'
import { startServed, temporaryFolder } from './served.ts'

/** Outbound requests as a whole host makes them. */

test('a server that never answers is let go of when the event’s time is up', { timeout: 60_000 }, async (t) => {
  const sockets: Socket[] = []
  const closed: Promise<void>[] = []
  const origin = createServer((socket) => {
    sockets.push(socket)
    socket.on('error', () => {})
    socket.once('data', () => {
      if (sockets.length > 1) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nabc')
    })
    closed.push(new Promise((resolve) => socket.once('close', () => resolve())))
  })
  await new Promise<void>((resolve) => origin.listen(0, '127.0.0.1', resolve))
  const { port: originPort } = origin.address() as AddressInfo
  const folder = await mkdtemp(join(tmpdir(), 'skep-outbound-'))
  const host = await createHost({ store: `file:${folder}`, egress: { allow: [`127.0.0.1:${originPort}`] } })
  t.after(async () => {
    await host.close()
    for (const socket of sockets) socket.destroy()
    origin.close()
    await rm(folder, { recursive: true, force: true })
  })
  const code = `export default { async fetch() { return new Response(await (await fetch('http://127.0.0.1:${originPort}/')).text()) } }`
  await host.deploy('slow', { code, hosts: ['slow.test'], limits: { wallMs: 300 } })
  const { port } = await host.listen({ port: 0 })
  for (let i = 0; i < 2; i++) {
    const answer = await send(port, 'slow.test')
    assert.equal(answer.headers['skep-error'], 'timeout')
    await closed[i]
  }
})

test('HTTPS: a valid certificate is taken for its names and no other, over HTTP/1.1', { timeout: 60_000 }, async (t) => {
  const folder = await temporaryFolder(t)
  const ca = join(folder, 'ca.pem')
  await writeFile(ca, CERTIFICATE)
  const child = join(import.meta.dirname, 'sandbox/https.child.ts')
  const env = { ...process.env, NODE_EXTRA_CA_CERTS: ca }
  const { stdout } = await promisify(execFile)(process.execPath, ['--no-node-snapshot', child], { env })
  const { results, versions, connections } = JSON.parse(stdout) as { results: string[]; versions: string[]; connections: number }
  assert.deepEqual(results.slice(0, 3), ['localhost:PORT', 'localhost:PORT', '127.0.0.1:PORT'])
  assert.match(results[3]!, /ERR_TLS_CERT_ALTNAME_INVALID/)
  assert.deepEqual(versions, ['1.1'])
  assert.ok(connections <= 3, `${connections} connections`)
})

test(
  "the host's own ports stay closed to functions where the operator opens loopback, unless named",
  { timeout: 120_000 },
  async (t) => {
    const free = await Promise.all(
      [0, 1].map(async () => {
        const server = createServer()
        await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
        const { port } = server.address() as AddressInfo
        return { port, release: () => new Promise((resolve) => server.close(resolve)) }
      }),
    )
    for (const { release } of free) await release()
    const [data, api] = free.map(({ port }) => String(port)) as [string, string]
    const folder = await temporaryFolder(t)
    const entry = join(folder, 'ask.ts')
    await writeFile(
      entry,
      `export default { async fetch(request: Request) {
      const url = decodeURIComponent(new URL(request.url).search.slice(1))
      return new Response(await fetch(url).then((r) => 'answered ' + r.status, (e) => e.message)) } }`,
    )
    const host = await startServed({
      data: join(folder, 'data'),
      args: ['--workers', '1', '--port', data, '--api-port', api],
      env: { SKEP_EGRESS_ALLOW: `127.0.0.0/8,localhost,127.0.0.2:${data}` },
    })
    t.after(() => host.stop())
    await host.skep('deploy', entry, '--name', 'ask', '--host', 'ask.localhost')
    const ask = async (url: string) => (await host.get('ask.localhost', `/?${encodeURIComponent(url)}`)).text
    for (const url of [
      `http://127.0.0.1:${api}/healthz`,
      `http://localhost:${api}/`,
      `http://127.1:${data}/`,
      `http://0x7f.9:${api}/`,
    ])
      assert.match(await ask(url), /refused: .* is this host itself/, url)
    assert.equal(await ask(`http://127.0.0.2:${data}/`), 'answered 404')
  },
)
