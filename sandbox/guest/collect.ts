import { arrayBufferFree } from './primordials.ts'

/**
 * Makes V8 look for garbage: bytes outside its heap beyond some 64 MB since the last look let it do so at once. Nothing
 * touches them, so they cost no memory, and they are given back before this returns.
 */
export function collect(bytes: number): void {
  try {
    arrayBufferFree(new ArrayBuffer(bytes))
  } catch {
    // There is no room for so many: V8 has looked before it said so.
  }
}
