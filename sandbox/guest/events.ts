import { Event } from './event-target.ts'
import { defineInterface, requireArguments, toDictionary, toDOMString } from './webidl.ts'

export class CustomEvent extends Event {
  #detail: unknown = null
  constructor(type: string, init?: unknown) {
    requireArguments(arguments.length, 1, 'CustomEvent constructor')
    super(type, init)
    const { detail } = toDictionary(init, 'CustomEvent options')
    if (detail !== undefined) this.#detail = detail
  }
  get detail(): unknown {
    return this.#detail
  }
}
defineInterface(CustomEvent)

export class ErrorEvent extends Event {
  #message = ''
  #filename = ''
  #lineno = 0
  #colno = 0
  #error: unknown = undefined
  constructor(type: string, init?: unknown) {
    requireArguments(arguments.length, 1, 'ErrorEvent constructor')
    super(type, init)
    const { message, filename, lineno, colno, error } = toDictionary(init, 'ErrorEvent options')
    if (message !== undefined) this.#message = toDOMString(message)
    if (filename !== undefined) this.#filename = toDOMString(filename)
    if (lineno !== undefined) this.#lineno = (lineno as number) >>> 0
    if (colno !== undefined) this.#colno = (colno as number) >>> 0
    this.#error = error
  }
  get message(): string {
    return this.#message
  }
  get filename(): string {
    return this.#filename
  }
  get lineno(): number {
    return this.#lineno
  }
  get colno(): number {
    return this.#colno
  }
  get error(): unknown {
    return this.#error
  }
}
defineInterface(ErrorEvent)

export class PromiseRejectionEvent extends Event {
  #promise: object
  #reason: unknown
  constructor(type: string, init: unknown) {
    requireArguments(arguments.length, 2, 'PromiseRejectionEvent constructor')
    super(type, init)
    const { promise, reason } = toDictionary(init, 'PromiseRejectionEvent options')
    if ((typeof promise !== 'object' || promise === null) && typeof promise !== 'function') {
      throw new TypeError('PromiseRejectionEvent options have no promise.')
    }
    this.#promise = promise
    this.#reason = reason
  }
  get promise(): object {
    return this.#promise
  }
  get reason(): unknown {
    return this.#reason
  }
}
defineInterface(PromiseRejectionEvent)
