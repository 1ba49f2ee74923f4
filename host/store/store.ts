/**
 * Where everything lasting is kept: small JSON records, read and swapped by ETag, and immutable bundles.
 *
 * Keys are `/`-separated segments of any characters but `/` and control characters; no segment is empty, `.` or `..`
 * (an implementation encodes what its medium cannot hold, and refuses the rest with `invalid_request`).
 *
 * Every method rejects with a `SkepError`: `store_unavailable` (away, timed out, refused: worth another try later),
 * `store_full` (no room or quota), `precondition_failed` (a condition did not hold: somebody else wrote), `store_conflict`
 * (this store cannot do conditional writes and another writer is there). An object that cannot be parsed is its
 * reader's to judge; the store hands over bytes.
 */
export interface Store {
  /** What it is, for logs: `file:/data` or `s3://bucket/prefix`. No credentials. */
  readonly description: string

  /** The object, `'unchanged'` when it still has the ETag of `ifNoneMatch`, or undefined when there is none. */
  get(key: string, options?: { ifNoneMatch?: string }): Promise<StoredObject | 'unchanged' | undefined>

  /**
   * Writes all of it or nothing; a reader sees the old bytes or the new ones. Returns the new ETag.
   * `ifMatch`: only over the object with that ETag. `ifAbsent`: only where there is none.
   */
  put(key: string, bytes: Uint8Array, condition?: WriteCondition): Promise<string>

  /** Removing what is not there is no error, unless `ifMatch` is given. */
  delete(key: string, condition?: { ifMatch?: string }): Promise<void>

  /** Keys that begin with `prefix`, in the order of their UTF-8 bytes, at most `limit` (1,000), after `cursor`. */
  list(prefix: string, page?: { cursor?: string; limit?: number }): Promise<StorePage>

  close(): Promise<void>
}

export interface StoredObject {
  bytes: Uint8Array
  /** Opaque. Equal for equal content at least as long as nobody wrote in between. */
  etag: string
}

export interface WriteCondition {
  ifMatch?: string
  ifAbsent?: boolean
}

export interface StorePage {
  keys: string[]
  /** Give it to the next `list`; undefined on the last page. */
  cursor: string | undefined
}
