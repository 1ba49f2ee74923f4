/**
 * Memory of streamed chunks, given back as soon as they are out. V8 looks for garbage by how much its own heap has
 * grown, of which the bytes of chunks are no part: a fast stream would leave tens of megabytes of them lying about.
 */
const owned = new WeakSet<ArrayBufferLike>()

/** Nobody else needs the buffer that these bytes are the whole of. */
export function own(bytes: Uint8Array): void {
  if (bytes.byteLength === bytes.buffer.byteLength) owned.add(bytes.buffer)
}

/** The bytes up to the end of their buffer are out. Leaves the buffer empty if it was owned. */
export function free(bytes: string | Uint8Array): void {
  if (typeof bytes === 'string' || !owned.delete(bytes.buffer)) return
  if (bytes.buffer instanceof ArrayBuffer) bytes.buffer.transfer(0)
}

const ballast: { last: unknown[] } = { last: [] }

/** For buffers that are not ours to empty: garbage on V8's own heap in proportion to them, so that it collects sooner. */
export function hasten(bytes: number): void {
  ballast.last = new Array(bytes >> 4)
}
