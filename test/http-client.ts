import { request } from 'node:http'
import { connect } from 'node:net'

export interface Answer {
  status: number
  headers: NodeJS.Dict<string | string[]>
  text: string
}

export interface Sending {
  method?: string
  headers?: Record<string, string>
  body?: string | Uint8Array
}

/** One request on a connection of its own. fetch() does not let a caller choose the Host header. */
export function send(port: number, host: string, path = '/', sending: Sending = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { method = sending.body === undefined ? 'GET' : 'POST', headers } = sending
    const sent = request({ host: '127.0.0.1', port, path, method, agent: false, headers: { host, ...headers } })
    sent.on('error', reject)
    sent.on('response', (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => (text += chunk))
      response.on('end', () => resolve({ status: response.statusCode!, headers: response.headers, text }))
      response.on('error', reject)
    })
    sent.end(sending.body)
  })
}

/** Bytes as they are, and all that comes back until the other side closes. */
export function sendRaw(port: number, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
    let text = ''
    socket.setEncoding('latin1')
    socket.on('data', (chunk: string) => (text += chunk))
    socket.on('error', reject)
    socket.on('close', () => resolve(text))
  })
}
