import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { createInlineFactory } from '../../sandbox/inline.ts'
import { handler, Probe } from './probe.ts'

/**
 * In a network namespace with loopback alone, which has the addresses that are asked for: a server answers on all of them.
 * Prints what a function got from each host, and which connections were made.
 */
const hosts = JSON.parse(process.argv[2]!) as string[]
const reached: string[] = []
const server = createServer((socket) => {
  reached.push(`${socket.localAddress}`)
  socket.on('error', () => {})
  socket.end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
})
await new Promise<void>((resolve) => server.listen(0, '::', resolve))
const { port } = server.address() as AddressInfo

const factory = await createInlineFactory({ egress: { allow: ['127.0.0.9'], deny: [] }, tainted: () => {} })
const code = handler(`
  const results = []
  for (const host of ${JSON.stringify(hosts)})
    results.push(await fetch('http://' + host + ':${port}/').then((r) => r.text(), (e) => e.message))
  return Response.json(results)`)
const probe = new Probe(factory, code, { limits: { subrequests: 1_000 } })
await probe.sandbox.ready
console.log(JSON.stringify({ results: JSON.parse(await probe.get()), reached }))
process.exit(0)
