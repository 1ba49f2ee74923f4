import { loadUws } from '../../host/listener/uws-binary.ts'
import { HELLO } from '../targets/target.ts'

const load = loadUws()
if (load.uws === undefined) throw new Error(`uWebSockets.js is not loaded: ${load.reason}`)
const { uws } = load
uws
  .App()
  .any('/*', (res) => {
    // The text of status and headers in one call, as skep's listener does it.
    res.writeStatus(`200 OK\r\ncontent-type: ${HELLO.contentType}`)
    res.end(HELLO.body)
  })
  .listen('127.0.0.1', 0, uws.LIBUS_LISTEN_EXCLUSIVE_PORT, (socket) => {
    if (socket === false) throw new Error('uWebSockets.js does not listen')
    process.send!({ port: uws.us_socket_local_port(socket) })
  })
// The bench that it belongs to is gone.
process.on('disconnect', () => process.exit())
