/** Requests in HTTP/1.1's text, sent over HTTP/2: so one suite of cases runs over both. */
import { connect, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2'
import type { Answer, Conversation } from './client.ts'

const NOT_CARRIED = new Set(['host', 'connection', 'keep-alive', 'transfer-encoding', 'upgrade'])

export class H2Client implements Conversation {
  readonly session: ClientHttp2Session
  readonly received: Buffer = Buffer.alloc(0)
  #text: Buffer = Buffer.alloc(0)
  #stream: ClientHttp2Stream | undefined
  /** Bytes of the body that are to come; 'chunked' where their chunks tell. */
  #rest: number | 'chunked' = 0
  #answers: Promise<Answer | undefined>[] = []
  #closed: Promise<void>

  constructor(session: ClientHttp2Session) {
    this.session = session
    session.on('error', () => {})
    this.#closed = new Promise((resolve) => session.once('close', resolve))
  }

  static open(port: number, host = '127.0.0.1'): Promise<H2Client> {
    return new Promise((resolve, reject) => {
      const name = host.includes(':') ? `[${host}]` : host
      const session = connect(`https://${name}:${port}`, { servername: 'a.test', rejectUnauthorized: false })
      session.once('error', reject)
      session.once('connect', () => resolve(new H2Client(session)))
    })
  }

  close(): void {
    this.session.destroy()
  }

  closed(): Promise<void> {
    return this.#closed
  }

  answer(): Promise<Answer | undefined> {
    return this.#answers.shift() ?? Promise.resolve(undefined)
  }

  send(bytes: string | Uint8Array): void {
    this.#text = Buffer.concat([this.#text, typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes])
    for (;;) if (!(this.#stream === undefined ? this.#sendHead() : this.#sendBody(this.#stream))) return
  }

  #take(length: number): Buffer {
    const taken = this.#text.subarray(0, length)
    this.#text = this.#text.subarray(length)
    return taken
  }

  #sendHead(): boolean {
    const end = this.#text.indexOf('\r\n\r\n')
    if (end < 0) return false
    const [first, ...lines] = this.#take(end + 4)
      .toString('latin1')
      .slice(0, -4)
      .split('\r\n')
    const [method, path] = first!.split(' ')
    const fields = lines.map((line) => /^([^:]+): *(.*)$/.exec(line)!.slice(1) as [string, string])
    const value = (name: string) => fields.find((field) => field[0].toLowerCase() === name)?.[1]
    const named = value('connection')?.toLowerCase().split(/, */) ?? []
    const own = fields
      .map(([name, text]) => [name.toLowerCase(), text])
      .filter(([name]) => !NOT_CARRIED.has(name!) && !named.includes(name!))
    const pseudo = [':method', method!, ':scheme', 'https', ':authority', value('host')!, ':path', path!]
    this.#rest = value('transfer-encoding') === undefined ? Number(value('content-length') ?? 0) : 'chunked'
    const stream = this.session.request([...pseudo, ...own.flat()] as string[], { endStream: this.#rest === 0 })
    if (this.#rest !== 0) this.#stream = stream
    this.#answers.push(...answersOf(stream, value('expect') !== undefined))
    return true
  }

  #sendBody(stream: ClientHttp2Stream): boolean {
    if (this.#rest === 'chunked') {
      const end = this.#text.indexOf('\r\n')
      if (end < 0) return false
      const size = parseInt(this.#text.toString('latin1', 0, end), 16)
      if (this.#text.length < end + 4 + size) return false
      this.#take(end + 2)
      const chunk = this.#take(size)
      this.#take(2)
      if (size === 0) this.#endBody(stream)
      else stream.write(chunk)
      return true
    }
    if (this.#text.length === 0) return false
    const part = this.#take(this.#rest)
    this.#rest -= part.length
    stream.write(part)
    if (this.#rest === 0) this.#endBody(stream)
    return true
  }

  #endBody(stream: ClientHttp2Stream): void {
    stream.end()
    this.#stream = undefined
  }
}

function answersOf(stream: ClientHttp2Stream, expects: boolean): Promise<Answer | undefined>[] {
  const proceed = Promise.withResolvers<Answer | undefined>()
  const final = Promise.withResolvers<Answer | undefined>()
  const chunks: Buffer[] = []
  let answer: Answer | undefined
  stream.on('error', () => {})
  stream.on('headers', (_headers, _flags, raw) => proceed.resolve(begin(raw as string[])))
  stream.on('response', (_headers, _flags, raw) => (answer = begin(raw as string[])))
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  stream.on('close', () => {
    if (answer !== undefined) {
      answer.body = Buffer.concat(chunks)
      answer.whole = stream.rstCode === 0
    }
    proceed.resolve(undefined)
    final.resolve(answer)
  })
  return expects ? [proceed.promise, final.promise] : [final.promise]
}

function begin(raw: string[]): Answer {
  const headers = new Map<string, string[]>()
  for (let i = 0; i < raw.length; i += 2) headers.set(raw[i]!, [...(headers.get(raw[i]!) ?? []), raw[i + 1]!])
  const status = Number(headers.get(':status')![0])
  return { status, statusLine: `HTTP/2 ${status}`, headers, body: Buffer.alloc(0), whole: true }
}
