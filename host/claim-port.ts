import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { SkepError } from './errors.ts'

/**
 * The port to serve on, free at this moment. Workers share it with SO_REUSEPORT, by which two hosts of one user would
 * share it too, without a word and to the surprise of both: so it is first asked for exclusively.
 */
export function claimPort(port: number, address: string, what: string, flag: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const inUse = cause.code === 'EADDRINUSE'
      const why = inUse
        ? `is in use. Stop what uses it, or choose another with ${flag} (0: any free one)`
        : `cannot be had (${cause.code})`
      reject(new SkepError(inUse ? 'port_in_use' : 'invalid_config', `The ${what} ${address}:${port} ${why}.`, { cause }))
    })
    server.listen({ port, host: address, exclusive: true }, () => {
      const { port: taken } = server.address() as AddressInfo
      server.close(() => resolve(taken))
    })
  })
}
