import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { HELLO } from '../targets/target.ts'

const server = createServer((_req, res) => {
  res.writeHead(200, { 'content-type': HELLO.contentType, 'content-length': HELLO.body.length })
  res.end(HELLO.body)
})
server.listen(0, '127.0.0.1', () => process.send!({ port: (server.address() as AddressInfo).port }))
// The bench that it belongs to is gone.
process.on('disconnect', () => process.exit())
