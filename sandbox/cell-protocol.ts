import { deserialize, serialize } from 'node:v8'
import type { Socket } from 'node:net'
import type { Batch } from './protocol.ts'
import type { RunReport, SandboxFailure, SandboxSpec, StartReport, Taint } from './sandbox.ts'
import type { Egress } from './operations/egress.ts'

/**
 * Between a process and one of its cells, over a Unix socket pair: frames of a length (4 bytes, little-endian) and V8's
 * serialised array of messages. What is said in one turn of the event loop travels in one frame. A cell holds code of
 * tenants: its parent checks what comes out of it as it checks what comes out of an isolate.
 */
export type ToCell =
  | { type: 'configure'; egress: Egress; cores: number }
  | { type: 'create'; sandbox: number; spec: SandboxSpec }
  | { type: 'dispatch'; sandbox: number; batch: Batch }
  | { type: 'dispose'; sandbox: number }
  /** Answered by `pong`, as soon as its event loop turns. */
  | { type: 'ping' }

export type FromCell =
  | { type: 'ready'; sandbox: number; report: StartReport }
  | { type: 'refused'; sandbox: number; message: string; stack: string }
  | { type: 'emit'; sandbox: number; batch: Batch }
  | { type: 'settled'; sandbox: number; report: RunReport }
  | { type: 'retire'; sandbox: number }
  | { type: 'ended'; sandbox: number; failure: SandboxFailure }
  | { type: 'tainted'; taint: Taint }
  | { type: 'pong'; rssBytes: number }

/** Why this is no message of a cell's; '' when it is one. Batches are checked by `checkBatch`. */
export function checkFromCell(message: FromCell): string {
  if (typeof message !== 'object' || message === null) return 'a message is no object'
  if (message.type === 'tainted') return isTaint(message.taint) ? '' : 'tainted is malformed'
  if (message.type === 'pong') return isCount(message.rssBytes) ? '' : 'pong is malformed'
  if (!Number.isSafeInteger(message.sandbox)) return 'a message of no sandbox'
  switch (message.type) {
    case 'ready':
      return isCount(message.report?.cpuMs) && isListOf(isText, message.report.handlers) ? '' : 'ready is malformed'
    case 'refused':
      return isText(message.message) && isText(message.stack) ? '' : 'refused is malformed'
    case 'emit':
    case 'retire':
      return ''
    case 'settled':
      return isCount(message.report?.cpuMs) && isCount(message.report.memoryBytes) && isCount(message.report.waitedMs ?? 0)
        ? ''
        : 'settled is malformed'
    case 'ended': {
      const { code, message: text, notBegun, cpuMs = 0 } = message.failure ?? {}
      return FAILURES.includes(code) && isText(text) && isListOf(isCount, notBegun) && isCount(cpuMs) ? '' : 'ended is malformed'
    }
    default:
      return 'a message of an unknown type'
  }
}

const FAILURES: unknown[] = [
  'cpu_exceeded',
  'memory_exceeded',
  'bad_guest',
  'worker_lost',
  'internal',
] satisfies SandboxFailure['code'][]

function isTaint(taint: Partial<Taint> | undefined): boolean {
  const isKnown = taint?.kind === 'unstoppable' || taint?.kind === 'catastrophic'
  return isKnown && isText(taint.name) && isText(taint.version) && isText(taint.message)
}

/** Ends at the first hole: `every` would pass them by, all four thousand million that an empty list can have. */
function isListOf(fits: (value: unknown) => boolean, value: unknown): boolean {
  if (!Array.isArray(value)) return false
  for (let i = 0; i < value.length; i++) if (!fits(value[i])) return false
  return true
}

function isCount(value: unknown): boolean {
  return typeof value === 'number' && value >= 0 && Number.isFinite(value)
}

function isText(value: unknown): boolean {
  return typeof value === 'string'
}

/** A bundle of the largest size, its source map and room for both to be copied. */
const LONGEST_FRAME = 512 * 1024 * 1024

/** One side of the pipe. */
export class Channel<Out, In> {
  readonly #socket: Socket
  readonly #receive: (message: In) => void
  #outgoing: Out[] = []
  #pieces: Buffer[] = []
  #length = 0
  #wanted = -1

  /** `broken` is called once, when the other side is gone or sends what is no frame. */
  constructor(socket: Socket, receive: (message: In) => void, broken: (reason: string) => void) {
    this.#socket = socket
    this.#receive = receive
    let reason = 'the pipe closed'
    // Of the system's (ECONNRESET, EPIPE): the other side ended with something unread, which says nothing about how.
    socket.on('error', () => {})
    socket.once('close', () => broken(reason))
    socket.on('data', (bytes) => {
      try {
        this.#take(bytes)
      } catch (error) {
        reason = (error as Error).message
        socket.destroy()
      }
    })
  }

  send(message: Out): void {
    this.#outgoing.push(message)
    if (this.#outgoing.length === 1) queueMicrotask(() => this.#flush())
  }

  destroy(): void {
    this.#socket.destroy()
  }

  #flush(): void {
    const messages = this.#outgoing
    this.#outgoing = []
    if (this.#socket.destroyed) return
    const body = serialize(messages)
    const head = Buffer.allocUnsafe(4)
    head.writeUInt32LE(body.length)
    this.#socket.cork()
    this.#socket.write(head)
    this.#socket.write(body)
    this.#socket.uncork()
  }

  #take(bytes: Buffer): void {
    this.#pieces.push(bytes)
    this.#length += bytes.length
    for (;;) {
      if (this.#wanted < 0) {
        if (this.#length < 4) return
        this.#wanted = this.#cut(4).readUInt32LE()
        if (this.#wanted > LONGEST_FRAME) throw new Error('a frame is too long')
      }
      if (this.#length < this.#wanted) return
      const frame = this.#cut(this.#wanted)
      this.#wanted = -1
      const messages: unknown = deserialize(frame)
      if (!Array.isArray(messages)) throw new Error('a frame holds no messages')
      for (const message of messages as In[]) this.#receive(message)
    }
  }

  #cut(length: number): Buffer {
    const whole = this.#pieces.length === 1 ? this.#pieces[0]! : Buffer.concat(this.#pieces)
    const rest = whole.subarray(length)
    this.#pieces = rest.length === 0 ? [] : [rest]
    this.#length = rest.length
    return whole.subarray(0, length)
  }
}
