import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { createInlineFactory } from '../../sandbox/inline.ts'
import { CERTIFICATE, KEY } from './certificate.ts'
import { handler, Probe } from './probe.ts'

/** Started with NODE_EXTRA_CA_CERTS: a function fetches from a server whose certificate is valid then. Prints what it got. */
const versions = new Set<string>()
let connections = 0
const server = createServer({ key: KEY, cert: CERTIFICATE, ALPNProtocols: ['h2', 'http/1.1'] }, (request, response) => {
  versions.add(request.httpVersion)
  response.end(request.headers.host)
})
server.on('secureConnection', () => connections++)
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
const { port } = server.address() as AddressInfo
const factory = await createInlineFactory({ egress: { allow: ['127.0.0.1'], deny: [] }, tainted: () => {} })
const code = handler(`
  const results = []
  for (const host of ['localhost', 'localhost', '127.0.0.1', 'other.localhost'])
    results.push(await fetch('https://' + host + ':${port}/').then((r) => r.text(), (e) => e.message))
  return Response.json(results)`)
const probe = new Probe(factory, code)
await probe.sandbox.ready
const results = (JSON.parse(await probe.get()) as string[]).map((text) => text.replaceAll(String(port), 'PORT'))
console.log(JSON.stringify({ results, versions: [...versions], connections }))
process.exit(0)
