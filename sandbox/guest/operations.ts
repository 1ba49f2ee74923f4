import { currentEvent, runAs } from './current.ts'
import { DOMException } from './dom-exception.ts'
import { HostBody } from './host-body.ts'
import { INITIAL_CREDIT, Emit } from '../protocol.ts'
import type { PlainObject } from '../protocol.ts'
import { post, postChunk } from './outbox.ts'
import { objectCreate, PromiseConstructor, typedArrayByteLength, typedArraySlice } from './primordials.ts'

/** What the guest asked the host to do and has not heard the end of. */
interface Operation {
  event: number
  resolve: (result: OperationResult) => void
  reject: (error: unknown) => void
  /** The body that comes back, once there is one. */
  incoming: HostBody | null
  outgoing: OutgoingBody | null
  /** Called once it has ended, in whatever way. */
  ended: () => void
}

/** Without a prototype: settling a promise looks for `then`, which the tenant may have put on `Object.prototype`. */
/** A body that is sent in chunks. */
export interface BodySource {
  read(): Promise<Uint8Array | null>
  cancel(reason: unknown): void
}

export interface OperationResult {
  head: PlainObject
  body: HostBody | null
}

const unset = () => {}
const operations = objectCreate(null) as { [id: number]: Operation }
let lastId = 0

/** Asks the host. `outgoing` is sent into the operation chunk by chunk. */
export function startOperation(name: string, argument: PlainObject, outgoing: BodySource | null, ended: () => void) {
  const id = ++lastId
  // Every field is an own one from the start: a setter on Object.prototype would take what is assigned later.
  const operation: Operation = { event: currentEvent(), resolve: unset, reject: unset, incoming: null, outgoing: null, ended }
  const result = new PromiseConstructor<OperationResult>((resolve, reject) => {
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
  finish(id, operation, error)
  post(Emit.operationCancel, id)
  operation.reject(error)
  operation.incoming?.fail(error)
}

/** The body is there from now on: its chunks may be in the same batch, and whoever awaits the answer runs after that. */
export function operationDone(id: number, head: PlainObject): void {
  const operation = operations[id]
  if (operation === undefined) return
  const body = head.hasBody === true ? incomingBody(id) : null
  operation.incoming = body
  if (body === null) finish(id, operation, undefined)
  runAs(operation.event, () => operation.resolve({ __proto__: null, head, body } as unknown as OperationResult))
}

function incomingBody(id: number): HostBody {
  return new HostBody(
    (bytes) => post(Emit.operationCredit, id, bytes),
    () => {
      const operation = operations[id]
      if (operation === undefined) return
      finish(id, operation, undefined)
      post(Emit.operationCancel, id)
    },
  )
}

export function operationFailed(id: number, name: string, message: string): void {
  const operation = operations[id]
  if (operation === undefined) return
  const error = name === 'TypeError' ? new TypeError(message) : new DOMException(message, name)
  finish(id, operation, error)
  runAs(operation.event, () => (operation.incoming === null ? operation.reject(error) : operation.incoming.fail(error)))
}

export function operationChunk(id: number, bytes: Uint8Array): void {
  operations[id]?.incoming?.push(bytes)
}

export function operationEnd(id: number): void {
  const operation = operations[id]
  if (operation === undefined) return
  finish(id, operation, undefined)
  operation.incoming?.end()
}

export function operationCredit(id: number, bytes: number): void {
  operations[id]?.outgoing?.grant(bytes)
}

/** What is still to be sent into it has nowhere to go. */
function finish(id: number, operation: Operation, error: unknown): void {
  delete operations[id]
  operation.outgoing?.stop(error)
  operation.ended()
}

/** Sends a stream into an operation, as fast as the host takes it. */
class OutgoingBody {
  readonly #id: number
  readonly #source: BodySource
  #credit = INITIAL_CREDIT
  #wake: (() => void) | null = null
  #stopped = false

  constructor(id: number, source: BodySource) {
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
    let chunk: Uint8Array | null = null
    try {
      for (;;) {
        while (this.#credit <= 0 && !this.#stopped) {
          await new PromiseConstructor<void>((resolve) => {
            this.#wake = resolve
          })
        }
        if (this.#stopped) return
        chunk ??= await this.#source.read()
        if (this.#stopped) return
        if (chunk === null) {
          this.#stopped = true
          post(Emit.operationEnd, this.#id)
          return
        }
        // A chunk that is larger than what the host has room for leaves in pieces.
        const whole: boolean = typedArrayByteLength(chunk) <= this.#credit
        const piece: Uint8Array = whole ? chunk : typedArraySlice(chunk, 0, this.#credit)
        chunk = whole ? null : typedArraySlice(chunk, this.#credit)
        this.#credit -= typedArrayByteLength(piece)
        postChunk(Emit.operationChunk, this.#id, piece)
      }
    } catch (error) {
      this.#stopped = true
      cancelOperation(this.#id, error)
    }
  }
}
