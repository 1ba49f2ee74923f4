import { join } from 'node:path'
import { startServer } from '../processes.ts'
import { SERVER_CORE } from './target.ts'
import type { Target } from './target.ts'

export const bareNode: Target = {
  name: 'bare node:http',
  async start() {
    const file = join(import.meta.dirname, '../servers/bare-node.ts')
    const { pid, ready, stop } = await startServer<{ port: number }>(file, {}, { core: SERVER_CORE })
    return { port: ready.port, pid, stop }
  },
}
