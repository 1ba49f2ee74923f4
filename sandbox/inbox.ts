import { ownBytes } from './bytes.ts'
import { Submit, SUBMIT_FIELDS } from './protocol.ts'
import type { Batch } from './protocol.ts'

/** What waits to go into an isolate. One entry takes all of it. */
export class Inbox {
  #batch: Batch = []
  #hasChunks = false
  #takenChunks = false

  get isEmpty(): boolean {
    return this.#batch.length === 0
  }

  /** Takes a batch over, array and bytes. Returns how many bytes are in it. */
  push(batch: Batch): number {
    let carried = 0
    for (let i = 0; i < batch.length; i++) {
      const field = batch[i]
      if (!(field instanceof Uint8Array)) continue
      carried += field.byteLength
      batch[i] = ownBytes(field)
    }
    if (carried > 0) this.#hasChunks = true
    if (this.#batch.length === 0) this.#batch = batch
    else for (let i = 0; i < batch.length; i++) this.#batch.push(batch[i]!)
    return carried
  }

  take(): Batch {
    const batch = this.#batch
    this.#batch = []
    this.#takenChunks = this.#hasChunks
    this.#hasChunks = false
    return batch
  }

  /**
   * The chunks of what was taken last have been copied in. V8 looks for garbage by the growth of its own heap, of which
   * their bytes are no part: a fast body would leave tens of megabytes of them behind.
   */
  freeChunks(taken: Batch): void {
    if (!this.#takenChunks) return
    this.#takenChunks = false
    for (let at = 0; at < taken.length; at += SUBMIT_FIELDS[taken[at] as number]! + 1) {
      const type = taken[at]
      if (type === Submit.bodyChunk || type === Submit.operationChunk)
        ((taken[at + 2] as Uint8Array).buffer as ArrayBuffer).transfer(0)
    }
  }

  /** Empties it. Returns the events that it held. */
  clear(): number[] {
    return eventsOf(this.take())
  }
}

/** Events that begin with a batch. */
export function eventsOf(batch: Batch): number[] {
  const ids: number[] = []
  for (let at = 0; at < batch.length; at += SUBMIT_FIELDS[batch[at] as number]! + 1) {
    if (batch[at] === Submit.fetch || batch[at] === Submit.scheduled) ids.push(batch[at + 1] as number)
  }
  return ids
}
