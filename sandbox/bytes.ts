/**
 * Bytes in a buffer of their own size. What V8 copies across is a view's whole buffer: for a small piece of Node's shared
 * pool that is 8 kB, of somebody else's data.
 */
export function ownBytes(bytes: Uint8Array): Uint8Array {
  const plain = Object.getPrototypeOf(bytes) === Uint8Array.prototype
  if (plain && bytes.byteLength === bytes.buffer.byteLength) return bytes
  return Uint8Array.prototype.slice.call(bytes, 0)
}
