// Edge functions next to an Express app's own routes. In a checkout: npm run -s example -- examples/embed-express/server.ts
// then: curl -H 'Host: hello.localhost' http://127.0.0.1:3000/
import express from 'express'
import { createHost, toNodeHandler } from 'skep'

const host = await createHost({ data: process.env.DATA ?? '.skep-embed' })
await host.deploy('hello', {
  code: `export default { fetch: async (request) => new Response('Hello, ' + (await request.text() || 'nobody') + '\\n') }`,
  hosts: ['hello.localhost'],
})

const app = express()
app.get('/health', (_req, res) => {
  res.send('ok\n')
})
// Before express.json() and its like: functions read their bodies themselves.
app.use(toNodeHandler(host))

const server = app.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${(server.address() as { port: number }).port}`)
})

process.once('SIGTERM', () => {
  server.close(() => void host.close())
  server.closeIdleConnections()
})
