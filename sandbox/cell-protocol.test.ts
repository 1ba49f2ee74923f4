import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { test } from 'node:test'
import { Channel, checkFromCell } from './cell-protocol.ts'
import type { FromCell } from './cell-protocol.ts'

test('a list of nothing but holes is refused at its first, however long it says it is', () => {
  const holes = Object.assign([] as never[], { length: 2 ** 32 - 1 })
  const ready = { type: 'ready', sandbox: 1, report: { cpuMs: 1, handlers: holes } } satisfies FromCell
  assert.equal(checkFromCell(ready), 'ready is malformed')
  const failure = { code: 'cpu_exceeded', message: '', notBegun: holes } as const
  assert.equal(checkFromCell({ type: 'ended', sandbox: 1, failure }), 'ended is malformed')
  assert.equal(checkFromCell({ ...ready, report: { cpuMs: 1, handlers: ['fetch'] } }), '')
})

test('how the other side’s end reaches the pipe tells nothing: a process that is killed with something unread resets it', async (t) => {
  const server = createServer()
  t.after(() => server.close())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const accepted = once(server, 'connection') as Promise<[Socket]>
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const failed = once(socket, 'error') as unknown as Promise<[NodeJS.ErrnoException]>
  const broken = new Promise<string>((resolve) => new Channel(socket, () => {}, resolve))
  const [other] = await accepted
  other.resetAndDestroy()
  assert.equal((await failed)[0].code, 'ECONNRESET')
  assert.equal(await broken, 'the pipe closed')
})

test('what is no frame is the other side’s own doing', async (t) => {
  const server = createServer((other) => other.on('error', () => {}).end(Buffer.from([255, 255, 255, 255])))
  t.after(() => server.close())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  assert.equal(await new Promise<string>((resolve) => new Channel(socket, () => {}, resolve)), 'a frame is too long')
})
