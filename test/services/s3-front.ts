import { once } from 'node:events'
import { createServer, request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface FrontOptions {
  /** Conditional headers never reach the server: a server that does not know them. */
  ignoreConditions?: boolean
  /** Called when the server has carried out a request; 'drop' cuts the connection instead of passing the answer on. */
  onAnswer?: (request: IncomingMessage, status: number) => Promise<'drop' | 'pass'> | 'drop' | 'pass'
  /** Called when half of a request's body has reached the server; the rest stays until it resolves. */
  onHalfBody?: (request: IncomingMessage) => Promise<void>
}

export interface S3Front {
  endpoint: string
  close(): Promise<void>
}

/**
 * Stands before a real S3 server and mistreats requests. It sends them on unsigned, as the signature covers the
 * conditional headers; the server's bucket is open to everybody.
 */
export async function startFront(target: string, options: FrontOptions): Promise<S3Front> {
  const server = createServer((from, to) => {
    forward(target, options, from).then(
      async (answer) => {
        if ((await options.onAnswer?.(from, answer.status)) === 'drop') return to.destroy()
        return to.writeHead(answer.status, answer.headers).end(answer.body)
      },
      () => to.destroy(),
    )
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

async function forward(target: string, options: FrontOptions, from: IncomingMessage) {
  const body = Buffer.concat(await from.toArray())
  const out = request(target + from.url, { method: from.method, headers: passedOn(from, options) })
  const answered = once(out, 'response') as Promise<[IncomingMessage]>
  // Until it is awaited below, a server that dies would be an unhandled rejection.
  answered.catch(() => undefined)
  if (options.onHalfBody && body.length > 0) {
    await new Promise<void>((resolve, reject) => {
      out.once('error', reject)
      out.write(body.subarray(0, body.length / 2), () => resolve())
    })
    await options.onHalfBody(from)
    out.end(body.subarray(body.length / 2))
  } else {
    out.end(body)
  }
  const [answer] = await answered
  const { connection: _, 'transfer-encoding': __, ...headers } = answer.headers
  return { status: answer.statusCode!, headers, body: Buffer.concat(await answer.toArray()) }
}

function passedOn(from: IncomingMessage, options: FrontOptions): Record<string, string | string[] | undefined> {
  const { authorization: _, host: __, expect: ___, connection: ____, ...headers } = from.headers
  if (!options.ignoreConditions) return headers
  const { 'if-match': _____, 'if-none-match': ______, ...unconditional } = headers
  return unconditional
}
