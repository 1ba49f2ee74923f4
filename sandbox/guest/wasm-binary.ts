import { arrayPush, isArray, typedArrayLength, typedArraySet, typedArraySlice } from './primordials.ts'

/*
 * Just enough of WebAssembly's binary format to find what a module declares of memories and tables, and to set their
 * maximum. An instruction that grows a memory cannot be watched from outside, and most compilers declare no maximum.
 */

export interface DeclaredMemory {
  /** Pages. */
  minimum: number
  maximum: number
  /** Others can reach it, and ask how large it is. */
  exported: boolean
}

/** Pages and elements. */
export interface Caps {
  pages: number
  elements: number
  /** Pages that a memory may grow by which is not exported and declares no maximum: nobody can see its size. */
  hiddenPages: number
}

export interface Bounded {
  /** Why a module is refused, or cannot be read here; '' when it is neither. */
  refused: string
  /** The module with its maxima set. */
  bytes: Uint8Array
  memories: DeclaredMemory[]
}

const Bytes = Uint8Array
const MALFORMED = 'malformed module'
const SECTION = { import: 2, table: 4, memory: 5, export: 7 }
const KIND = { func: 0, table: 1, memory: 2, global: 3, tag: 4 }

interface Cursor {
  bytes: Uint8Array
  at: number
  end: number
  problem: string
}

interface Edit {
  from: number
  to: number
  bytes: number[]
}

/** Reads a module and bounds what it declares. Never throws; what V8 would find wrong beyond that is left to V8. */
export function boundModule(bytes: Uint8Array, caps: Caps): Bounded {
  const cursor: Cursor = { bytes, at: 8, end: typedArrayLength(bytes), problem: '' }
  const edits: Edit[] = []
  const memories: DeclaredMemory[] = []
  const importedMemories = { count: 0 }
  const exported: number[] = []
  let memorySection: { from: number; to: number } | null = null
  while (cursor.at < cursor.end && cursor.problem === '') {
    const id = byte(cursor)
    const size = u32(cursor)
    const from = cursor.at
    const to = from + size
    if (to > cursor.end) return refuse(MALFORMED)
    const section: Cursor = { bytes, at: from, end: to, problem: cursor.problem }
    if (id === SECTION.import) readImports(section, importedMemories)
    else if (id === SECTION.table) boundTables(section, caps, edits)
    else if (id === SECTION.memory) {
      if (memorySection !== null) return refuse(MALFORMED)
      memorySection = { from, to }
      readMemories(section, memories)
    } else if (id === SECTION.export) readExports(section, exported)
    if (section.problem !== '') return refuse(section.problem)
    cursor.at = to
  }
  if (cursor.problem !== '') return refuse(cursor.problem)
  for (let i = 0; i < exported.length; i++) {
    const at = exported[i]! - importedMemories.count
    if (at >= 0 && at < memories.length) memories[at]!.exported = true
  }
  for (let i = 0; i < memories.length; i++) {
    const memory = memories[i]!
    if (memory.minimum > caps.pages)
      return refuse(
        `it declares a memory of ${memory.minimum} pages of 64 kB, and ${caps.pages} are all that this function may have`,
      )
    const hidden = memory.maximum < 0 && !memory.exported ? memory.minimum + caps.hiddenPages : caps.pages
    const most = hidden < caps.pages ? hidden : caps.pages
    if (memory.maximum < 0 || memory.maximum > most) memory.maximum = most
  }
  if (memorySection !== null) arrayPush(edits, { ...memorySection, bytes: writeMemories(memories) })
  return { refused: '', bytes: edits.length === 0 ? bytes : rewrite(bytes, edits), memories }
}

function refuse(why: string): Bounded {
  return { refused: why, bytes: new Bytes(0), memories: [] }
}

function byte(cursor: Cursor): number {
  if (cursor.at < cursor.end) return cursor.bytes[cursor.at++]!
  cursor.problem ||= MALFORMED
  return 0
}

/** LEB128. 64-bit values are read as far as numbers go: they occur where the module is refused anyway, and as constants. */
function u32(cursor: Cursor): number {
  let value = 0
  let scale = 1
  for (let i = 0; i < 10; i++) {
    const next = byte(cursor)
    value += (next & 127) * scale
    if (next < 128) return value
    scale *= 128
  }
  cursor.problem ||= MALFORMED
  return 0
}

function skip(cursor: Cursor, length: number): void {
  if (length > cursor.end - cursor.at) cursor.problem ||= MALFORMED
  else cursor.at += length
}

interface Limits {
  minimum: number
  /** -1: none. */
  maximum: number
}

function limits(cursor: Cursor, what: string): Limits {
  const flags = byte(cursor)
  if ((flags & 2) !== 0) cursor.problem ||= `it has a shared ${what}, and there is no shared memory here`
  else if (flags > 1)
    cursor.problem ||= `it has a ${what} of 64-bit addresses or pages of another size, which are not available here`
  const minimum = u32(cursor)
  return { minimum, maximum: (flags & 1) === 1 ? u32(cursor) : -1 }
}

/** A value or reference type: one byte, or a byte and the index of a heap type. */
function type(cursor: Cursor): void {
  const code = byte(cursor)
  if (code === 0x63 || code === 0x64) u32(cursor)
}

function readImports(cursor: Cursor, found: { count: number }): void {
  for (let left = u32(cursor); left > 0 && cursor.problem === ''; left--) {
    skip(cursor, u32(cursor))
    skip(cursor, u32(cursor))
    const kind = byte(cursor)
    if (kind === KIND.func) u32(cursor)
    else if (kind === KIND.table) {
      type(cursor)
      limits(cursor, 'table')
    } else if (kind === KIND.memory) {
      found.count++
      limits(cursor, 'memory')
    } else if (kind === KIND.global) {
      type(cursor)
      byte(cursor)
    } else if (kind === KIND.tag) {
      byte(cursor)
      u32(cursor)
    } else cursor.problem ||= MALFORMED
  }
}

function readMemories(cursor: Cursor, memories: DeclaredMemory[]): void {
  for (let left = u32(cursor); left > 0 && cursor.problem === ''; left--)
    arrayPush(memories, { ...limits(cursor, 'memory'), exported: false })
  if (cursor.at !== cursor.end) cursor.problem ||= MALFORMED
}

function readExports(cursor: Cursor, memories: number[]): void {
  for (let left = u32(cursor); left > 0 && cursor.problem === ''; left--) {
    skip(cursor, u32(cursor))
    const kind = byte(cursor)
    const index = u32(cursor)
    if (kind === KIND.memory) arrayPush(memories, index)
  }
}

/** Elements of a table are counted by V8, but made in one piece: too large a piece ends more than this isolate. */
function boundTables(cursor: Cursor, caps: Caps, edits: Edit[]): void {
  for (let left = u32(cursor); left > 0 && cursor.problem === ''; left--) {
    // 0x40 0x00: a table whose elements have a value to begin with follows.
    const valued = cursor.at + 1 < cursor.end && cursor.bytes[cursor.at] === 0x40
    if (valued) skip(cursor, 2)
    type(cursor)
    const from = cursor.at
    const { minimum, maximum } = limits(cursor, 'table')
    if (minimum > caps.elements)
      cursor.problem ||= `it declares a table of ${minimum} elements, and ${caps.elements} are all that this function may have`
    if (maximum < 0 || maximum > caps.elements)
      arrayPush(edits, { from, to: cursor.at, bytes: writeLimits([], minimum, caps.elements) })
    if (valued) skipConstant(cursor)
  }
  if (cursor.at !== cursor.end) cursor.problem ||= MALFORMED
}

/** A constant expression, to its end. */
function skipConstant(cursor: Cursor): void {
  while (cursor.problem === '') {
    const code = byte(cursor)
    if (code === 0x0b) return
    if (code === 0x41 || code === 0x42 || code === 0x23 || code === 0xd0 || code === 0xd2) u32(cursor)
    else if (code === 0x43) skip(cursor, 4)
    else if (code === 0x44) skip(cursor, 8)
    else if (code === 0xfd) {
      if (u32(cursor) === 12) skip(cursor, 16)
      else cursor.problem ||= MALFORMED
    } else if (code === 0xfb) skipGarbageCollected(cursor)
    // Sums and products of integers have no immediate.
    else if (code !== 0x6a && code !== 0x6b && code !== 0x6c && code !== 0x7c && code !== 0x7d && code !== 0x7e)
      cursor.problem ||= MALFORMED
  }
}

/** struct.new(_default), array.new(_default, _fixed), any.convert_extern, extern.convert_any, ref.i31 */
function skipGarbageCollected(cursor: Cursor): void {
  const code = u32(cursor)
  if (code === 0 || code === 1 || code === 6 || code === 7 || code === 8) u32(cursor)
  if (code === 8) u32(cursor)
  if (code > 8 && code !== 26 && code !== 27 && code !== 28) cursor.problem ||= MALFORMED
}

function writeU32(to: number[], value: number): number[] {
  let rest = value
  while (rest > 127) {
    arrayPush(to, (rest & 127) | 128)
    rest >>>= 7
  }
  arrayPush(to, rest)
  return to
}

function writeLimits(to: number[], minimum: number, maximum: number): number[] {
  arrayPush(to, 1)
  return writeU32(writeU32(to, minimum), maximum)
}

function writeMemories(memories: DeclaredMemory[]): number[] {
  const section = writeU32([], memories.length)
  for (let i = 0; i < memories.length; i++) writeLimits(section, memories[i]!.minimum, memories[i]!.maximum)
  return section
}

/** The module with parts of it replaced, and the sizes of their sections with them. Sections are written anew one by one. */
function rewrite(bytes: Uint8Array, edits: Edit[]): Uint8Array {
  const pieces: (Uint8Array | number[])[] = [typedArraySlice(bytes, 0, 8)]
  const cursor: Cursor = { bytes, at: 8, end: typedArrayLength(bytes), problem: '' }
  while (cursor.at < cursor.end) {
    const start = cursor.at
    byte(cursor)
    const size = u32(cursor)
    const from = cursor.at
    const to = from + size
    cursor.at = to
    let grown = 0
    for (let i = 0; i < edits.length; i++)
      if (edits[i]!.from >= from && edits[i]!.to <= to) grown += edits[i]!.bytes.length - (edits[i]!.to - edits[i]!.from)
    arrayPush(pieces, writeU32([bytes[start]!], size + grown))
    let done = from
    for (let i = 0; i < edits.length; i++) {
      const edit = edits[i]!
      if (edit.from < from || edit.to > to) continue
      arrayPush(pieces, typedArraySlice(bytes, done, edit.from))
      arrayPush(pieces, edit.bytes)
      done = edit.to
    }
    arrayPush(pieces, typedArraySlice(bytes, done, to))
  }
  return join(pieces)
}

function join(pieces: (Uint8Array | number[])[]): Uint8Array {
  let length = 0
  for (let i = 0; i < pieces.length; i++) length += lengthOf(pieces[i]!)
  const whole = new Bytes(length)
  for (let i = 0, at = 0; i < pieces.length; i++) {
    typedArraySet(whole, pieces[i]!, at)
    at += lengthOf(pieces[i]!)
  }
  return whole
}

function lengthOf(piece: Uint8Array | number[]): number {
  return isArray(piece) ? piece.length : typedArrayLength(piece)
}
