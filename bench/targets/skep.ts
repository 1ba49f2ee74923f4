import { onlyWorker, startSkep } from '../skep.ts'
import { HELLO, SERVER_CORE } from './target.ts'
import type { Target } from './target.ts'

const CODE = `export default { fetch() { return new Response(${JSON.stringify(HELLO.body)}, { headers: { 'content-type': ${JSON.stringify(HELLO.contentType)} } }) } }`

/** One worker with its isolates inline, behind either listener. */
export function skep(listener: 'uws' | 'node'): Target {
  return {
    name: `skep on ${listener === 'uws' ? 'uWebSockets.js' : 'node:http'}`,
    async start() {
      const host = await startSkep({ workers: '1', placement: 'inline', listener }, { core: SERVER_CORE })
      try {
        await host.deploy('hello', CODE)
        await host.route('hello', HELLO.host)
        await onlyWorker(host)
      } catch (error) {
        await host.stop()
        throw error
      }
      return { port: host.port, pid: host.pid, stop: () => host.stop() }
    },
  }
}
