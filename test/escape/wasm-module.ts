/** WebAssembly modules by hand. Numbers below 128 only need no encoding; others are LEB128 by `leb`. */
export function leb(value: number): number[] {
  const bytes: number[] = []
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...bytes, rest]
    bytes.push((rest % 128) + 128)
  }
}

const section = (id: number, content: number[]): number[] => [id, ...leb(content.length), ...content]
const name = (text: string): number[] => [text.length, ...Buffer.from(text)]

export interface Shape {
  /** Limits of each memory: [minimum], [minimum, maximum], or [flags, …] by `raw`. */
  memories?: number[][]
  tables?: number[][]
  exportsMemory?: boolean
  raw?: { memory?: number[]; table?: number[] }
}

/** With functions `grow(pages)` and `fill(byte, length)` over memory 0, where there is one. */
export function wasmModule(shape: Shape): Uint8Array {
  const { memories = [], tables = [], exportsMemory = true, raw = {} } = shape
  const limits = ([minimum, maximum]: number[]) =>
    maximum === undefined ? [0, ...leb(minimum!)] : [1, ...leb(minimum!), ...leb(maximum)]
  const memory = raw.memory ?? (memories.length > 0 ? [memories.length, ...memories.flatMap(limits)] : undefined)
  const table =
    raw.table ?? (tables.length > 0 ? [tables.length, ...tables.flatMap((each) => [0x70, ...limits(each)])] : undefined)
  const bytes = [0, 97, 115, 109, 1, 0, 0, 0]
  const push = (...content: number[]) => bytes.push(...content)
  const hasMemory = memory !== undefined
  if (hasMemory) {
    push(...section(1, [2, 0x60, 1, 0x7f, 1, 0x7f, 0x60, 2, 0x7f, 0x7f, 0]))
    push(...section(3, [2, 0, 1]))
  }
  if (table !== undefined) push(...section(4, table))
  if (hasMemory) {
    push(...section(5, memory))
    const exported = [...name('grow'), 0, 0, ...name('fill'), 0, 1]
    push(...section(7, exportsMemory ? [3, ...name('memory'), 2, 0, ...exported] : [2, ...exported]))
    // memory.grow; memory.fill(0, byte, length)
    push(...section(10, [2, 6, 0, 0x20, 0, 0x40, 0, 0x0b, 11, 0, 0x41, 0, 0x20, 0, 0x20, 1, 0xfc, 11, 0, 0x0b]))
  }
  return new Uint8Array(bytes)
}
