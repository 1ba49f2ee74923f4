import { bytesOfBody, copyBytes } from './body.ts'
import { account, accounted, memoryLimit, noteGrowth, requireRoom } from './memory.ts'
import {
  arrayBufferByteLength,
  bytesOf,
  construct,
  getter,
  mathFloor,
  objectKeys,
  regExpExec,
  typedArrayLength,
  uncurryThis,
  weakMapGet,
  weakMapSet,
} from './primordials.ts'
import { replaceConstructor, replaceMethods } from './replace.ts'
import { bodyOfResponse, isResponse, responseHead } from './response.ts'
import { toDictionary, toEnforcedInteger } from './webidl.ts'
import { boundModule } from './wasm-binary.ts'
import type { Caps, DeclaredMemory } from './wasm-binary.ts'

const PAGE = 65_536
/** What V8 makes of a module: the bytes themselves, and machine code of those functions that are called. */
const CODE_FACTOR = 4
/** A table of functions takes some 40 bytes an element. */
const ELEMENT = 256

type Imports = object | undefined
type Constructor = new (...given: never[]) => object

/** The parts of `WebAssembly` that are used here. The compiler's own types are the DOM library's, which is not loaded. */
interface WebAssembly {
  Module: Constructor
  Instance: Constructor
  Memory: Constructor
  Table: Constructor
  CompileError: new (message: string) => Error
  validate(bytes: Uint8Array): boolean
}

/** Of each module, what an instance of it will take. */
const declared = new WeakMap<object, DeclaredMemory[]>()
const APPLICATION_WASM = /^[\t ]*application\/wasm[\t ]*$/i

/**
 * Bounds what WebAssembly may take: V8 counts neither its memories nor its code. Before tenant code runs, and in each
 * isolate: V8 installs `WebAssembly` when it makes a context, and not for the snapshot.
 */
export function installWasm(global: object): void {
  const wasm = (global as { WebAssembly?: WebAssembly }).WebAssembly
  if (wasm === undefined) return
  // Stacks that are set aside are memory that nobody counts.
  for (const name of ['promising', 'Suspending', 'SuspendError']) delete (wasm as unknown as Record<string, unknown>)[name]
  const { Module, Instance, Memory, Table, CompileError, validate } = wasm
  const bufferOf: (memory: unknown) => ArrayBuffer = getter(Memory.prototype, 'buffer')
  const exportsOf: (instance: unknown) => Record<string, unknown> = getter(Instance.prototype, 'exports')
  const growOf = uncurryThis((Memory.prototype as { grow: (this: unknown, pages: number) => number }).grow)
  const sizeOf = (memory: object): number => arrayBufferByteLength(bufferOf(memory))

  const caps = (): Caps => ({
    pages: mathFloor(memoryLimit() / PAGE),
    elements: mathFloor(memoryLimit() / ELEMENT),
    hiddenPages: 256,
  })

  function compile(source: unknown, newTarget: object = Module): object {
    const given = bytesOf(source)
    if (given === null) return construct(Module, [source], newTarget)
    // A copy: what was looked at is what is compiled, whatever becomes of the tenant's buffer.
    const bytes = copyBytes(given)
    const bounded = boundModule(bytes, caps())
    if (bounded.refused !== '') {
      // V8's own words for what is no module at all.
      if (!validate(bytes)) return construct(Module, [bytes], newTarget)
      throw new CompileError(`WebAssembly.Module(): ${bounded.refused}`)
    }
    const make = () => construct(Module, [bounded.bytes], newTarget)
    const module = accounted(CODE_FACTOR * typedArrayLength(bytes), 'WebAssembly.Module()', make)
    weakMapSet(declared, module, bounded.memories)
    return module
  }

  function instantiate(module: unknown, imports: Imports, newTarget: object = Instance): object {
    const memories = typeof module === 'object' && module !== null ? weakMapGet(declared, module) : undefined
    const make = () => construct(Instance, [module, imports], newTarget)
    if (memories === undefined || memories.length === 0) return make()
    let minimum = 0
    let hidden = 0
    for (let i = 0; i < memories.length; i++) {
      const memory = memories[i]!
      minimum += memory.minimum * PAGE
      if (!memory.exported) hidden += memory.maximum * PAGE
    }
    requireRoom(minimum, memories.length, 'WebAssembly.Instance()')
    // Those that nobody can see are charged with all that they may become.
    const instance = hidden > 0 ? accounted(hidden, 'WebAssembly.Instance()', make) : make()
    const exports = exportsOf(instance)
    const names = objectKeys(exports)
    for (let i = 0; i < names.length; i++) {
      const memory = exports[names[i]!]
      if (isMemory(memory) && !isKnown(memory)) know(memory)
    }
    return instance
  }

  const known = new WeakMap<object, true>()
  const isKnown = (memory: object): boolean => weakMapGet(known, memory) === true
  function know(memory: object): void {
    weakMapSet(known, memory, true)
    account(memory, sizeOf(memory), sizeOf)
  }
  function isMemory(value: unknown): value is object {
    if (typeof value !== 'object' || value === null) return false
    try {
      bufferOf(value)
      return true
    } catch {
      return false
    }
  }

  replaceConstructor(wasm, Module, (newTarget, bytes) => compile(bytes, newTarget))
  replaceConstructor(wasm, Instance, (newTarget, module, imports) => instantiate(module, imports as Imports, newTarget))
  replaceConstructor(wasm, Memory, (newTarget, descriptor) => {
    const { pages } = caps()
    const { initial, limits } = readLimits(descriptor, 'WebAssembly.Memory()', pages)
    const make = () => construct(Memory, [limits], newTarget)
    if (initial > pages) throw new RangeError(`WebAssembly.Memory(): ${pages} pages are all that this function may have`)
    requireRoom(initial * PAGE, 1, 'WebAssembly.Memory()')
    const memory = make()
    know(memory)
    return memory
  })
  replaceConstructor(wasm, Table, (newTarget, descriptor, value, count) => {
    const { elements } = caps()
    const { initial, limits } = readLimits(descriptor, 'WebAssembly.Table()', elements)
    if (initial > elements) throw new RangeError(`WebAssembly.Table(): ${elements} elements are all that this function may have`)
    limits.element = (descriptor as { element?: unknown }).element
    return construct(Table, count > 1 ? [limits, value] : [limits], newTarget)
  })
  replaceMethods(Memory.prototype, {
    grow(delta: unknown): number {
      const pages = toEnforcedInteger(delta, 'WebAssembly.Memory.grow(): the argument')
      requireRoom(pages * PAGE, 0, 'WebAssembly.Memory.grow()')
      const before = growOf(this, pages)
      noteGrowth(pages * PAGE)
      return before
    },
  })

  /** The asynchronous ones do not settle in isolated-vm: what V8 compiles elsewhere has no way back. */
  replaceMethods(wasm, {
    async compile(bytes: unknown): Promise<object> {
      return compile(bytes)
    },
    async instantiate(source: unknown, imports: Imports): Promise<object> {
      return instantiateAny(source, imports)
    },
    validate(source: unknown): boolean {
      const given = bytesOf(source)
      if (given === null) throw new TypeError('WebAssembly.validate(): Argument 0 must be a buffer source')
      const bytes = copyBytes(given)
      return validate(bytes) && boundModule(bytes, caps()).refused === ''
    },
    async compileStreaming(source: unknown): Promise<object> {
      return compile(await received(source, 'compileStreaming'))
    },
    async instantiateStreaming(source: unknown, imports: Imports): Promise<object> {
      return instantiateAny(await received(source, 'instantiateStreaming'), imports)
    },
  })

  function instantiateAny(source: unknown, imports: Imports): object {
    if (bytesOf(source) === null) return instantiate(source, imports)
    const module = compile(source)
    return { module, instance: instantiate(module, imports) }
  }
}

/** The descriptor of a memory or table, each member read once. */
function readLimits(descriptor: unknown, what: string, most: number): { initial: number; limits: Record<string, unknown> } {
  if ((typeof descriptor !== 'object' && typeof descriptor !== 'function') || descriptor === null)
    throw new TypeError(`${what}: Argument 0 must be a descriptor`)
  const { initial, maximum, shared, address, index } = toDictionary(descriptor, what)
  if (shared !== undefined && shared !== false) throw new TypeError(`${what}: there is no shared memory here`)
  if ((address !== undefined && address !== 'i32') || (index !== undefined && index !== 'i32'))
    throw new TypeError(`${what}: 64-bit addresses are not available here`)
  if (initial === undefined) throw new TypeError(`${what}: Property 'initial' is required`)
  const first = toEnforcedInteger(initial, `${what}: Property 'initial'`)
  const last = maximum === undefined ? most : toEnforcedInteger(maximum, `${what}: Property 'maximum'`)
  if (last < first && maximum !== undefined) throw new RangeError(`${what}: Property 'maximum' is less than 'initial'`)
  const bounded = last > most ? most : last
  return { initial: first, limits: { __proto__: null, initial: first, maximum: bounded } as unknown as Record<string, unknown> }
}

/** The bytes of a response, or of the promise of one. */
async function received(source: unknown, what: string): Promise<Uint8Array> {
  const response: unknown = await source
  if (!isResponse(response)) throw new TypeError(`WebAssembly.${what}(): Argument 0 must be a Response or a promise of one`)
  const { status, type } = responseHead(response)
  if (type === null || regExpExec(APPLICATION_WASM, type) === null)
    throw new TypeError(`WebAssembly.${what}(): the response's Content-Type is ${type ?? 'absent'}, not application/wasm`)
  if (status < 200 || status > 299) throw new TypeError(`WebAssembly.${what}(): the response's status is ${status}`)
  return await bytesOfBody(bodyOfResponse(response))
}
