import { createHash } from 'node:crypto'
import { SkepError } from '../host/errors.ts'

/**
 * A bundle: what a function is after bundling, before it runs. One immutable object in the store, named by the SHA-256
 * of its bytes, which depend on neither machine nor path.
 */
export interface Bundle {
  /**
   * A classic script (V8's code cache serves scripts, not modules) that evaluates to the module namespace of the entry,
   * or, where a module awaits at its top level, to a promise of it. It finds its binary modules in the free variable
   * `__skep_modules`, an object of name → `WebAssembly.Module` (.wasm) or `ArrayBuffer` (.bin).
   */
  code: string
  /** The script's value is a promise. */
  async: boolean
  /** Binary modules by name. */
  modules: Record<string, Uint8Array>
  /** Source map, version 3, JSON; '' for none. Sources are relative to the project's folder. */
  sourceMap: string
  nodejs: boolean
}

const MAGIC = 'skep-bundle 1\n'

/** The object as it is stored: a line that names the format, a JSON line of lengths, then the parts. */
export function encodeBundle(bundle: Bundle): Uint8Array {
  const code = Buffer.from(bundle.code)
  const sourceMap = Buffer.from(bundle.sourceMap)
  const names = Object.keys(bundle.modules).sort()
  const header = {
    async: bundle.async,
    nodejs: bundle.nodejs,
    code: code.length,
    sourceMap: sourceMap.length,
    modules: names.map((name) => [name, bundle.modules[name]!.length]),
  }
  return Buffer.concat([
    Buffer.from(`${MAGIC}${JSON.stringify(header)}\n`),
    code,
    sourceMap,
    ...names.map((name) => bundle.modules[name]!),
  ])
}

/** Lower-case hexadecimal SHA-256. */
export function hashBytes(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** Throws `bundle_rejected` for bytes that `encodeBundle` did not make. */
export function decodeBundle(bytes: Uint8Array): Bundle {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const reject = (why: string): never => {
    throw new SkepError('bundle_rejected', `This is no bundle of skep's: ${why}. Deploy the function again.`)
  }
  if (buffer.subarray(0, MAGIC.length).toString('latin1') !== MAGIC) reject('it does not begin as one')
  const lineEnd = buffer.indexOf(10, MAGIC.length)
  if (lineEnd < 0) reject('its header does not end')
  const header = parseHeader(buffer.subarray(MAGIC.length, lineEnd).toString()) ?? reject('its header is malformed')
  let offset = lineEnd + 1
  const take = (length: number) => buffer.subarray(offset, (offset += length))
  const code = take(header.code).toString()
  const sourceMap = take(header.sourceMap).toString()
  const modules: Record<string, Uint8Array> = Object.create(null)
  for (const [name, length] of header.modules) modules[name] = take(length)
  if (offset !== buffer.length) reject('its length does not match its header')
  return { code, async: header.async, modules, sourceMap, nodejs: header.nodejs }
}

interface Header {
  async: boolean
  nodejs: boolean
  code: number
  sourceMap: number
  modules: [string, number][]
}

function parseHeader(text: string): Header | undefined {
  const length = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0
  try {
    const header = JSON.parse(text) as Header
    const modules =
      Array.isArray(header.modules) && header.modules.every(([name, size]) => typeof name === 'string' && length(size))
    const flags = typeof header.async === 'boolean' && typeof header.nodejs === 'boolean'
    return modules && flags && length(header.code) && length(header.sourceMap) ? header : undefined
  } catch {
    return undefined
  }
}
