/** Why a port cannot be listened on, with a code and what to do. */
import { createServer } from 'node:net'
import { SkepError } from '../errors.ts'

export interface Binding {
  port: number
  address: string
  shared: boolean
}

export function bindingError(binding: Binding, cause: unknown): SkepError {
  const { port, address, shared } = binding
  const code = (cause as { code?: string } | undefined)?.code
  const details = { port, address, reason: code }
  if (code === 'EADDRINUSE') {
    const hint = shared ? ' (only processes of the same user that set SO_REUSEPORT can share it)' : ''
    return new SkepError(
      'port_in_use',
      `Port ${port} on ${address} is in use${hint}. Stop what listens there (ss -ltnp 'sport = :${port}' names it) or choose another with --port.`,
      { cause, details },
    )
  }
  if (code === 'EACCES') {
    return new SkepError(
      'port_in_use',
      `This user may not listen on port ${port} on ${address}. Choose one above 1023 with --port, or allow it (sysctl net.ipv4.ip_unprivileged_port_start, or CAP_NET_BIND_SERVICE).`,
      { cause, details },
    )
  }
  return new SkepError(
    'invalid_config',
    `Cannot listen on port ${port} on ${address}: ${(cause as Error | undefined)?.message ?? 'unknown reason'}. Choose an address of this machine.`,
    { cause, details },
  )
}

/**
 * Throws when the port cannot be had. uWebSockets says only that it failed, so the reason is asked for this way; and a
 * supervisor asks before its workers share a port, because SO_REUSEPORT joins a stranger's group without a word.
 */
export async function checkPort(binding: Binding): Promise<void> {
  const server = createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(bindingError(binding, error)))
    server.listen({ port: binding.port, host: binding.address, exclusive: true, reusePort: binding.shared }, resolve)
  })
  await new Promise((resolve) => server.close(resolve))
}
