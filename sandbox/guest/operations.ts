import { currentEvent, runAs } from './current.ts'
import { DOMException } from './dom-exception.ts'
import { HostBody } from './host-body.ts'
import type { ByteReader } from './body.ts'
import { INITIAL_CREDIT, Emit } from '../protocol.ts'
import type { PlainObject } from '../protocol.ts'
import { post } from './outbox.ts'
import { objectCreate, PromiseConstructor, typedArrayByteLength } from './primordials.ts'

/** What the guest asked the host to do and has not heard the end of. */
interface Operation {
  event: number
  resolve: (result: PlainObject) => void
  reject: (error: unknown) => void
  /** The body that comes back, once there is one. */
  incoming: HostBody | null
  outgoing: OutgoingBody | null
}

const operations = objectCreate(null) as { [id: number]: Operation }
let lastId = 0

/** Asks the host. `outgoing` is sent into the operation chunk by chunk. */
export function startOperation(name: string, argument: PlainObject, outgoing: ByteReader | HostBody | null) {
  const id = ++lastId
  const operation = { event: currentEvent(), incoming: null, outgoing: null } as unknown as Operation
  const result = new PromiseConstructor<PlainObject>((resolve, reject) => {
    operation.resolve = resolve
    operation.reject = reject
  })
  operations[id] = operation
  post(Emit.operation, id, operation.event, name, argument)
  if (outgoing !== null) operation.outgoing = new OutgoingBody(id, outgoing)
  return { id, result }
}

/** The host hears no more of it is wanted; whoever waits gets the error. */
export function cancelOperation(id: number, error: unknown): void {
  const operation = operations[id]
  if (operation === undefined) return
  delete operations[id]
  post(Emit.operationCancel, id)
  operation.reject(error)
  operation.incoming?.fail(error)
  operation.outgoing?.stop(error)
}

/** The body of an operation that has answered. */
export function incomingBody(id: number): HostBody {
  const body = new HostBody(
    (bytes) => post(Emit.operationCredit, id, bytes),
    () => {
      delete operations[id]
      post(Emit.operationCancel, id)
    },
  )
  operations[id]!.incoming = body
  return body
}

export function operationDone(id: number, result: PlainObject): void {
  const operation = operations[id]
  if (operation === undefined) return
  runAs(operation.event, () => operation.resolve(result))
}

export function operationFailed(id: number, name: string, message: string): void {
  const operation = operations[id]
  if (operation === undefined) return
  delete operations[id]
  const error = name === 'TypeError' ? new TypeError(message) : new DOMException(message, name)
  operation.outgoing?.stop(error)
  runAs(operation.event, () => (operation.incoming === null ? operation.reject(error) : operation.incoming.fail(error)))
}

export function operationChunk(id: number, bytes: Uint8Array): void {
  operations[id]?.incoming?.push(bytes)
}

export function operationEnd(id: number): void {
  const operation = operations[id]
  delete operations[id]
  operation?.incoming?.end()
}

export function operationCredit(id: number, bytes: number): void {
  operations[id]?.outgoing?.grant(bytes)
}

/** Forgets an operation that has answered and has no body to come. */
export function endOperation(id: number): void {
  delete operations[id]
}

/** Sends a stream into an operation, as fast as the host takes it. */
class OutgoingBody {
  readonly #id: number
  readonly #source: ByteReader | HostBody
  #credit = INITIAL_CREDIT
  #wake: (() => void) | undefined
  #stopped = false

  constructor(id: number, source: ByteReader | HostBody) {
    this.#id = id
    this.#source = source
    void this.#send()
  }

  grant(bytes: number): void {
    this.#credit += bytes
    this.#wake?.()
  }

  stop(reason: unknown): void {
    if (this.#stopped) return
    this.#stopped = true
    this.#source.cancel(reason)
    this.#wake?.()
  }

  async #send(): Promise<void> {
    try {
      for (;;) {
        while (this.#credit <= 0 && !this.#stopped) {
          await new PromiseConstructor<void>((resolve) => {
            this.#wake = resolve
          })
        }
        if (this.#stopped) return
        const chunk = await this.#source.read()
        if (this.#stopped) return
        if (chunk === null) {
          this.#stopped = true
          post(Emit.operationEnd, this.#id)
          return
        }
        this.#credit -= typedArrayByteLength(chunk)
        post(Emit.operationChunk, this.#id, chunk)
      }
    } catch (error) {
      this.#stopped = true
      cancelOperation(this.#id, error)
    }
  }
}
