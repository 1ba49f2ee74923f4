import { Agent, request } from 'node:http'
import { connect } from 'node:net'
import type { Outcome, Sent } from './attack.ts'

export interface Answer {
  outcome: Outcome
  status: number
  /** Lower-case names; repeated fields apart. */
  headers: [string, string][]
  text: string
  ms: number
}

/** Nothing may take this long: every wall time of the attacks is shorter. */
const PATIENCE = 30_000

/** Requests one after the other, on one connection where the host keeps it open. */
export class Client {
  readonly #port: number
  readonly #host: string
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 })

  constructor(port: number, host: string) {
    this.#port = port
    this.#host = host
  }

  async send(sent: Sent = {}): Promise<Answer> {
    const began = performance.now()
    const answer = sent.raw === undefined ? await this.#request(sent) : await this.#raw(sent.raw, sent.leaveAfterMs)
    return { ...answer, ms: performance.now() - began }
  }

  close(): void {
    this.#agent.destroy()
  }

  async #request(sent: Sent): Promise<Answer> {
    const first = await this.#once(sent)
    // An idle connection that the host closed while it drains: HTTP's own race, which every client has to live with.
    return first === undefined ? ((await this.#once(sent)) ?? closed()) : first
  }

  #once(sent: Sent): Promise<Answer | undefined> {
    return new Promise((resolve) => {
      const { method = sent.body === undefined ? 'GET' : 'POST', path = '/', headers = {} } = sent
      const host = sent.host ?? this.#host
      const outgoing = request({
        host: '127.0.0.1',
        port: this.#port,
        agent: this.#agent,
        method,
        path,
        headers: { host, ...headers },
      })
      const patience = setTimeout(() => outgoing.destroy(new Error('hung')), PATIENCE)
      const end = (answer: Answer | undefined) => {
        clearTimeout(patience)
        resolve(answer)
      }
      let left = false
      const leave = () => {
        left = true
        outgoing.destroy()
      }
      const leaving = sent.leaveAfterMs === undefined ? undefined : setTimeout(leave, sent.leaveAfterMs)
      outgoing.on('error', (error) => {
        clearTimeout(leaving)
        if (left) end({ ...closed(), outcome: 'left' })
        else if (error.message === 'hung') end({ ...closed(), outcome: 'hung' })
        else end(outgoing.reusedSocket ? undefined : closed())
      })
      outgoing.on('response', (response) => {
        let text = ''
        let size = 0
        const answer = (outcome: Outcome) => {
          clearTimeout(leaving)
          const fields: [string, string][] = []
          const raw = response.rawHeaders
          for (let i = 0; i < raw.length; i += 2) fields.push([raw[i]!.toLowerCase(), raw[i + 1]!])
          end({ outcome, status: response.statusCode!, headers: fields, text, ms: 0 })
        }
        response.setEncoding('latin1')
        response.on('data', (chunk: string) => {
          size += chunk.length
          if (text.length < 1_048_576) text += chunk
          if (sent.leaveAfter !== undefined && size >= sent.leaveAfter) leave()
        })
        response.on('end', () => answer((response.headers['skep-error'] as string | undefined) ?? response.statusCode!))
        response.on('error', () => answer(left ? 'left' : 'cut'))
      })
      outgoing.end(sent.body)
    })
  }

  /** What comes back for bytes, up to the end of the connection or half a second of silence after the first of them. */
  #raw(bytes: string, leaveAfterMs: number | undefined): Promise<Answer> {
    return new Promise((resolve) => {
      const socket = connect(this.#port, '127.0.0.1', () => {
        socket.write(bytes.replaceAll('HOST', this.#host), 'latin1')
      })
      let text = ''
      let left = false
      let quiet: NodeJS.Timeout | undefined
      const patience = setTimeout(() => socket.destroy(), PATIENCE)
      if (leaveAfterMs !== undefined)
        setTimeout(() => {
          left = true
          socket.destroy()
        }, leaveAfterMs)
      socket.setEncoding('latin1')
      socket.on('data', (chunk: string) => {
        text += chunk
        clearTimeout(quiet)
        quiet = setTimeout(() => socket.destroy(), 500)
      })
      socket.on('error', () => {})
      socket.on('close', () => {
        clearTimeout(quiet)
        clearTimeout(patience)
        resolve(left ? { ...closed(), outcome: 'left' } : parse(text))
      })
    })
  }
}

/** The first answer in what came; `text` is all of it. */
function parse(text: string): Answer {
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(text)?.[1] ?? 0)
  if (status === 0) return { ...closed(), text }
  const head = text.slice(0, text.indexOf('\r\n\r\n'))
  const headers = head
    .split('\r\n')
    .slice(1)
    .map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()] as [string, string])
  const code = headers.find(([name]) => name === 'skep-error')?.[1]
  return { outcome: code ?? status, status, headers, text, ms: 0 }
}

function closed(): Answer {
  return { outcome: 'closed', status: 0, headers: [], text: '', ms: 0 }
}
