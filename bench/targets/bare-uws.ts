import { join } from 'node:path'
import { startServer } from '../processes.ts'
import { SERVER_CORE } from './target.ts'
import type { Target } from './target.ts'

/** What the listener costs without a host behind it: the most that skep could reach. */
export const bareUws: Target = {
  name: 'bare uWebSockets.js',
  async start() {
    const file = join(import.meta.dirname, '../servers/bare-uws.ts')
    const { pid, ready, stop } = await startServer<{ port: number }>(file, {}, { core: SERVER_CORE })
    return { port: ready.port, pid, stop }
  },
}
