import { defineData, hasOwn, objectCreate, objectSetPrototypeOf, reflectConstruct } from './primordials.ts'
import { defineConstants, defineInterface, toDOMString } from './webidl.ts'

/** In the order of the codes, from 1. */
const LEGACY = [
  ['INDEX_SIZE_ERR', 'IndexSizeError'],
  ['DOMSTRING_SIZE_ERR', ''],
  ['HIERARCHY_REQUEST_ERR', 'HierarchyRequestError'],
  ['WRONG_DOCUMENT_ERR', 'WrongDocumentError'],
  ['INVALID_CHARACTER_ERR', 'InvalidCharacterError'],
  ['NO_DATA_ALLOWED_ERR', ''],
  ['NO_MODIFICATION_ALLOWED_ERR', 'NoModificationAllowedError'],
  ['NOT_FOUND_ERR', 'NotFoundError'],
  ['NOT_SUPPORTED_ERR', 'NotSupportedError'],
  ['INUSE_ATTRIBUTE_ERR', 'InUseAttributeError'],
  ['INVALID_STATE_ERR', 'InvalidStateError'],
  ['SYNTAX_ERR', 'SyntaxError'],
  ['INVALID_MODIFICATION_ERR', 'InvalidModificationError'],
  ['NAMESPACE_ERR', 'NamespaceError'],
  ['INVALID_ACCESS_ERR', 'InvalidAccessError'],
  ['VALIDATION_ERR', ''],
  ['TYPE_MISMATCH_ERR', 'TypeMismatchError'],
  ['SECURITY_ERR', 'SecurityError'],
  ['NETWORK_ERR', 'NetworkError'],
  ['ABORT_ERR', 'AbortError'],
  ['URL_MISMATCH_ERR', 'URLMismatchError'],
  ['QUOTA_EXCEEDED_ERR', 'QuotaExceededError'],
  ['TIMEOUT_ERR', 'TimeoutError'],
  ['INVALID_NODE_TYPE_ERR', 'InvalidNodeTypeError'],
  ['DATA_CLONE_ERR', 'DataCloneError'],
] as const

const codes = objectCreate(null) as Record<string, number>
const constants = objectCreate(null) as Record<string, number>
for (let i = 0; i < LEGACY.length; i++) {
  const entry = LEGACY[i]!
  constants[entry[0]] = i + 1
  if (entry[1] !== '') codes[entry[1]] = i + 1
}

const NativeError = Error

const Stamp = function (target: object) {
  return target
} as unknown as new (target: object) => object

/** Private fields put on a native error, so that a DOMException has an error's stack and no forgeable state. */
class State extends Stamp {
  #name: string
  #message: string
  constructor(target: object, name: string, message: string) {
    super(target)
    this.#name = name
    this.#message = message
  }
  static put(target: object, name: string, message: string): State {
    return new State(target, name, message)
  }
  static is(value: object): boolean {
    return #name in value
  }
  static nameOf(value: object): string {
    return (value as State).#name
  }
  static messageOf(value: object): string {
    return (value as State).#message
  }
}

export class DOMException {
  constructor(message: unknown = '', options: unknown = 'Error') {
    const text = toDOMString(message)
    let name = 'Error'
    let cause: unknown
    let hasCause = false
    if (typeof options === 'object' && options !== null) {
      const given = options as { name?: unknown; cause?: unknown }
      if (given.name !== undefined) name = toDOMString(given.name)
      hasCause = 'cause' in given
      if (hasCause) cause = given.cause
    } else {
      name = toDOMString(options)
    }
    const self = reflectConstruct(NativeError, [], new.target) as DOMException
    State.put(self, name, text)
    if (hasCause) defineData(self, 'cause', cause, false)
    // oxlint-disable-next-line no-constructor-return
    return self
  }
  get name(): string {
    // V8 writes the stack's first line while the native constructor runs, before the state is there.
    return State.is(this) ? State.nameOf(this) : refuse()
  }
  get message(): string {
    return State.is(this) ? State.messageOf(this) : refuse()
  }
  get code(): number {
    const name = this.name
    return hasOwn(codes, name) ? codes[name]! : 0
  }
}

function refuse(): never {
  throw new TypeError('Illegal invocation')
}

defineInterface(DOMException)
defineConstants(DOMException, constants)
objectSetPrototypeOf(DOMException.prototype, NativeError.prototype)

export function isDOMException(value: unknown): value is DOMException {
  return typeof value === 'object' && value !== null && State.is(value)
}

/** For structuredClone: a copy that shares nothing with the tenant's object but its strings. */
export function cloneDOMException(from: DOMException): DOMException {
  const copy = new DOMException(State.messageOf(from), State.nameOf(from))
  const stack = (from as { stack?: unknown }).stack
  if (typeof stack === 'string') defineData(copy, 'stack', stack, false)
  return copy
}
