import { request } from 'node:http'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { buffer } from 'node:stream/consumers'

export interface Asked {
  port: number
  host: string
  path?: string
  method?: string
  headers?: Record<string, string>
}

/** The head of an answer; its body is the caller's to read. `fetch` would not send another host's name. */
export function ask(asked: Asked, body?: (to: NodeJS.WritableStream) => void): Promise<IncomingMessage> {
  const { port, host, path = '/', method = 'GET', headers = {} } = asked
  return new Promise((resolve, reject) => {
    const sent = request({ port, host: '127.0.0.1', path, method, headers: { ...headers, host }, agent: false }, resolve)
    sent.on('error', reject)
    if (body === undefined) sent.end()
    else body(sent)
  })
}

export async function askText(asked: Asked): Promise<{ status: number; headers: IncomingHttpHeaders; text: string }> {
  const answer = await ask(asked)
  return { status: answer.statusCode!, headers: answer.headers, text: (await buffer(answer)).toString() }
}
