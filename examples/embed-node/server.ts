// A node:http server of your own with edge functions inside it. In a checkout: npm run -s example -- examples/embed-node/server.ts
// then: curl -H 'Host: hello.localhost' http://127.0.0.1:3000/
import { createServer } from 'node:http'
import { createHost, toNodeHandler } from 'skep'

const host = await createHost({ data: process.env.DATA ?? '.skep-embed' })
await host.deploy('hello', {
  code: `export default { fetch: (request) => new Response('Hello from ' + new URL(request.url).pathname + '\\n') }`,
  hosts: ['hello.localhost'],
})

const functions = toNodeHandler(host)
const server = createServer((req, res) => {
  if (req.url === '/health') res.end('ok\n')
  else functions(req, res)
})
server.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${(server.address() as { port: number }).port}`)
})

process.once('SIGTERM', () => {
  server.close(() => void host.close())
  server.closeIdleConnections()
})
