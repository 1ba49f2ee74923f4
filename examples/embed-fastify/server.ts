// Edge functions next to a Fastify app's own routes. In a checkout: npm run -s example -- examples/embed-fastify/server.ts
// then: curl -H 'Host: hello.localhost' http://127.0.0.1:3000/
import fastify from 'fastify'
import { createHost, toNodeHandler } from 'skep'

const host = await createHost({ data: process.env.DATA ?? '.skep-embed' })
await host.deploy('hello', {
  code: `export default { fetch: async (request) => new Response('Hello, ' + (await request.text() || 'nobody') + '\\n') }`,
  hosts: ['hello.localhost'],
})

const app = fastify()
app.get('/health', () => 'ok\n')
const functions = toNodeHandler(host)
await app.register(async (scope) => {
  // Bodies are the functions' to read, of whatever type they are.
  scope.removeAllContentTypeParsers()
  scope.addContentTypeParser('*', (_request, _payload, done) => done(null))
  scope.all('/*', (request, reply) => {
    reply.hijack()
    functions(request.raw, reply.raw)
  })
})

console.log(await app.listen({ port: Number(process.env.PORT ?? 3000), host: '127.0.0.1' }))

process.once('SIGTERM', async () => {
  await app.close()
  await host.close()
})
