/** HTTP/2 frame by frame: for what no client of it would send. */
import { connect, type TLSSocket } from 'node:tls'

export const Frame = { DATA: 0, HEADERS: 1, RST_STREAM: 3, SETTINGS: 4, PING: 6, GOAWAY: 7, WINDOW_UPDATE: 8, CONTINUATION: 9 }
export const END_STREAM = 1
export const END_HEADERS = 4
const ACK = 1

export interface Received {
  type: number
  flags: number
  stream: number
  payload: Buffer
}

export class FrameClient {
  readonly socket: TLSSocket
  readonly frames: Received[] = []
  closed = false
  #buffer: Buffer = Buffer.alloc(0)
  #wake = new Set<() => void>()

  constructor(socket: TLSSocket) {
    this.socket = socket
    socket.on('data', (bytes: Buffer) => this.#take(bytes))
    socket.on('error', () => {})
    socket.on('close', () => {
      this.closed = true
      this.#tell()
    })
  }

  /** After the preface and our settings. */
  static open(port: number, settings: [id: number, value: number][] = []): Promise<FrameClient> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1', servername: 'a.test', rejectUnauthorized: false, ALPNProtocols: ['h2'] })
      socket.once('error', reject)
      socket.once('secureConnect', () => {
        const client = new FrameClient(socket)
        socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
        client.send(Frame.SETTINGS, 0, 0, Buffer.concat(settings.map(([id, value]) => setting(id, value))))
        resolve(client)
      })
    })
  }

  #take(bytes: Buffer): void {
    this.#buffer = Buffer.concat([this.#buffer, bytes])
    for (;;) {
      if (this.#buffer.length < 9) break
      const length = this.#buffer.readUIntBE(0, 3)
      if (this.#buffer.length < 9 + length) break
      const frame = {
        type: this.#buffer[3]!,
        flags: this.#buffer[4]!,
        stream: this.#buffer.readUInt32BE(5) & 0x7fffffff,
        payload: Buffer.from(this.#buffer.subarray(9, 9 + length)),
      }
      this.#buffer = this.#buffer.subarray(9 + length)
      this.frames.push(frame)
      if (frame.type === Frame.SETTINGS && (frame.flags & ACK) === 0) this.send(Frame.SETTINGS, ACK, 0)
    }
    this.#tell()
  }

  #tell(): void {
    for (const wake of this.#wake) wake()
    this.#wake.clear()
  }

  send(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): void {
    if (!this.socket.destroyed) this.socket.write(frameOf(type, flags, stream, payload))
  }

  /** A request without a body, on an odd stream. */
  request(stream: number, fields: [string, string][] = get(), flags = END_STREAM | END_HEADERS): void {
    this.send(Frame.HEADERS, flags, stream, block(fields))
  }

  /** The first frame that is one; undefined once the connection has ended without. */
  async until(is: (frame: Received) => boolean): Promise<Received | undefined> {
    for (;;) {
      const found = this.frames.find(is)
      if (found !== undefined || this.closed) return found
      await new Promise<void>((resolve) => this.#wake.add(resolve))
    }
  }

  /** Status and body of a stream's answer, or the code of its reset. */
  async answer(stream: number): Promise<{ text?: string; reset?: number } | undefined> {
    const last = await this.until(
      (frame) => frame.stream === stream && (frame.type === Frame.RST_STREAM || (frame.type <= 1 && (frame.flags & 1) === 1)),
    )
    if (last === undefined) return undefined
    if (last.type === Frame.RST_STREAM) return { reset: last.payload.readUInt32BE(0) }
    const data = this.frames.filter((frame) => frame.stream === stream && frame.type === Frame.DATA)
    return { text: Buffer.concat(data.map((frame) => frame.payload)).toString() }
  }

  /** How the server ended the connection: its last GOAWAY's code. */
  async ended(): Promise<number | undefined> {
    while (!this.closed) await new Promise<void>((resolve) => this.#wake.add(resolve))
    return this.frames.findLast((frame) => frame.type === Frame.GOAWAY)?.payload.readUInt32BE(4)
  }

  close(): void {
    this.socket.destroy()
  }
}

export function get(path = '/', more: [string, string][] = []): [string, string][] {
  return [[':method', 'GET'], [':scheme', 'https'], [':authority', 'a.test'], [':path', path], ...more]
}

export function frameOf(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

function setting(id: number, value: number): Buffer {
  const bytes = Buffer.alloc(6)
  bytes.writeUInt16BE(id, 0)
  bytes.writeUInt32BE(value, 2)
  return bytes
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** HPACK without its tables: each field as it is, not to be indexed. */
export function block(fields: [string, string][]): Buffer {
  const parts = fields.flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)])
  return Buffer.concat(parts)
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1')
  return Buffer.concat([integer(bytes.length), bytes])
}

/** With a prefix of 7 bits. */
function integer(value: number): Buffer {
  if (value < 127) return Buffer.from([value])
  const bytes = [127]
  for (value -= 127; value >= 128; value = Math.floor(value / 128)) bytes.push((value % 128) + 128)
  return Buffer.from([...bytes, value])
}
