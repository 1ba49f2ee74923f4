/** A client that sends any bytes it is told to, and reads answers without mending them. */
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'

/** One connection, whatever carries it: requests in HTTP/1.1's text go in, answers come out in their order. */
export interface Conversation {
  send(bytes: string | Uint8Array): void
  /** The next answer; undefined when the connection ends before one. */
  answer(options?: { head?: boolean }): Promise<Answer | undefined>
  /** The connection has ended. */
  closed(): Promise<void>
  /** Ends it without a word. */
  close(): void
  /** What has come and was not read as an answer. */
  readonly received: Buffer
}

export interface Answer {
  status: number
  statusLine: string
  headers: Map<string, string[]>
  body: Buffer
  /** All of it came: its length, its last chunk, or, without either, the end of the connection. */
  whole: boolean
}

export class Client implements Conversation {
  readonly socket: Socket
  #buffer: Buffer = Buffer.alloc(0)
  #ended = false
  #wake: (() => void) | undefined

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk) => {
      this.#buffer = Buffer.concat([this.#buffer, chunk])
      this.#wake?.()
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#ended = true
      this.#wake?.()
    })
  }

  static open(port: number, host = '127.0.0.1'): Promise<Client> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host, noDelay: true })
      socket.once('error', reject)
      socket.once('connect', () => resolve(new Client(socket)))
    })
  }

  static openTls(port: number, host = '127.0.0.1'): Promise<Client> {
    return new Promise((resolve, reject) => {
      const socket = connectTls({ port, host, servername: 'a.test', rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] })
      socket.once('error', reject)
      socket.once('secureConnect', () => resolve(new Client(socket)))
    })
  }

  close(): void {
    this.socket.destroy()
  }

  send(bytes: string | Uint8Array): void {
    this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
  }

  async closed(): Promise<void> {
    while (!this.#ended) await this.#more()
  }

  get received(): Buffer {
    return this.#buffer
  }

  #more(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = () => {
        this.#wake = undefined
        resolve()
      }
    })
  }

  async #line(): Promise<string | undefined> {
    for (;;) {
      const at = this.#buffer.indexOf('\r\n')
      if (at >= 0) {
        const line = this.#buffer.toString('latin1', 0, at)
        this.#buffer = this.#buffer.subarray(at + 2)
        return line
      }
      if (this.#ended) return undefined
      await this.#more()
    }
  }

  async #take(length: number): Promise<Buffer> {
    while (this.#buffer.length < length && !this.#ended) await this.#more()
    const taken = this.#buffer.subarray(0, length)
    this.#buffer = this.#buffer.subarray(taken.length)
    return taken
  }

  async answer(options: { head?: boolean } = {}): Promise<Answer | undefined> {
    const statusLine = await this.#line()
    if (statusLine === undefined) return undefined
    const status = Number(statusLine.split(' ')[1])
    const headers = new Map<string, string[]>()
    for (let line = await this.#line(); line !== undefined && line !== ''; line = await this.#line()) {
      const colon = line.indexOf(': ')
      const name = line.slice(0, colon).toLowerCase()
      headers.set(name, [...(headers.get(name) ?? []), line.slice(colon + 2)])
    }
    const answer: Answer = { status, statusLine, headers, body: Buffer.alloc(0), whole: true }
    if (options.head === true || status < 200 || status === 204 || status === 304) return answer
    const length = headers.get('content-length')?.[0]
    if (headers.get('transfer-encoding')?.[0] === 'chunked') {
      const chunks: Buffer[] = []
      for (;;) {
        const size = parseInt((await this.#line()) ?? '', 16)
        const chunk = Number.isNaN(size) ? undefined : await this.#take(size + 2)
        if (chunk === undefined || chunk.length < size + 2) answer.whole = false
        if (chunk !== undefined) chunks.push(chunk.subarray(0, size))
        if (!answer.whole || size === 0) break
      }
      answer.body = Buffer.concat(chunks)
    } else if (length !== undefined) {
      answer.body = await this.#take(Number(length))
      answer.whole = answer.body.length === Number(length)
    } else {
      answer.body = await this.#take(Infinity)
    }
    return answer
  }
}

export function get(path = '/', more = ''): string {
  return `GET ${path} HTTP/1.1\r\nHost: a.test\r\n${more}\r\n`
}
