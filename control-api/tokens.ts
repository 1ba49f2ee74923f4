import { createHash, randomBytes } from 'node:crypto'
import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { LRUCache } from 'lru-cache'
import { SkepError } from '../host/errors.ts'
import { checkName, decodeRecord, encodeRecord, keys, tokenRecord } from '../host/records.ts'
import type { TokenRecord } from '../host/records.ts'
import type { Store } from '../host/store/store.ts'

/** A lookup is believed for so long, ms: a token revoked on another host is refused here within two seconds. */
const BELIEVED_MS = 1_500
const CACHED = 10_000

const TEXT = /^skep_[A-Za-z0-9_-]{43}$/
const ID = /^[0-9a-f]{16}$/
const PREFIX = keys.token('')

/** The tokens of the API. Their texts are stored nowhere: a token is found by the SHA-256 of its text. */
export class Tokens {
  readonly #store: Store
  readonly #now: () => number
  readonly #lookups = new LRUCache<string, { at: number; record: Promise<TokenRecord | undefined> }>({ max: CACHED })

  /** `now`: a clock in ms that never goes back. */
  constructor(store: Store, now: () => number = () => performance.now()) {
    this.#store = store
    this.#now = now
  }

  /** The token with that text, or undefined. Rejects with `store_unavailable` when nobody can tell. */
  async find(text: string): Promise<TokenRecord | undefined> {
    if (!TEXT.test(text)) return undefined
    const hash = sha256(text)
    const known = this.#lookups.get(hash)
    if (known !== undefined && this.#now() - known.at < BELIEVED_MS) return known.record
    const lookup = { at: this.#now(), record: this.#read(keys.token(hash)) }
    this.#lookups.set(hash, lookup)
    // A failed lookup tells nothing, so the next request asks again.
    lookup.record.catch(() => this.#lookups.peek(hash) === lookup && this.#lookups.delete(hash))
    return lookup.record
  }

  /** A new token. Its text is returned here and never again. */
  async create(given: {
    name: string
    tenant: string
    role: TokenRecord['role']
  }): Promise<{ text: string; record: TokenRecord }> {
    if (given.tenant !== '*') checkName('tenant', given.tenant)
    const text = `skep_${randomBytes(32).toString('base64url')}`
    const hash = sha256(text)
    const { name, tenant, role } = given
    const record = { id: hash.slice(0, 16), name, tenant, role, createdAt: new Date().toISOString() }
    await this.#store.put(keys.token(hash), encodeRecord(record), { ifAbsent: true })
    this.#lookups.delete(hash)
    return { text, record }
  }

  /** Every token, in the order of their ids. */
  async *list(): AsyncGenerator<TokenRecord> {
    let cursor: string | undefined
    do {
      const page = await this.#store.list(PREFIX, cursor === undefined ? {} : { cursor })
      const records = await Promise.all(page.keys.map((key) => this.#read(key)))
      yield* records.filter((record) => record !== undefined)
      cursor = page.cursor
    } while (cursor !== undefined)
  }

  /** Takes effect here at once, on other hosts within two seconds. `tenant`: only a token of that one; others are `not_found`. */
  async revoke(id: string, tenant?: string): Promise<TokenRecord> {
    const [key] = ID.test(id) ? (await this.#store.list(`${PREFIX}${id}`, { limit: 1 })).keys : []
    const record = key === undefined ? undefined : await this.#read(key)
    if (key === undefined || record === undefined || (tenant !== undefined && record.tenant !== tenant)) {
      throw new SkepError('not_found', `There is no token ${JSON.stringify(id.slice(0, 80))}.`)
    }
    await this.#store.delete(key)
    this.#lookups.delete(key.slice(PREFIX.length))
    return record
  }

  async #read(key: string): Promise<TokenRecord | undefined> {
    const object = await this.#store.get(key)
    return object === undefined || object === 'unchanged' ? undefined : decodeRecord(tokenRecord, key, object.bytes)
  }
}

/** Where `skep` on the host's machine finds a token. */
export function adminTokenFile(dataDir: string): string {
  return join(dataDir, 'admin-token')
}

/**
 * Where the store has no token at all, makes one for the operator, writes its text to `<data>/admin-token` (mode 0600) and
 * returns it, to be printed once; otherwise undefined. Of several hosts that start at once on one store each may make one:
 * both are valid, and each lies in its own data folder.
 */
export async function ensureAdminToken(store: Store, dataDir: string): Promise<{ text: string; file: string } | undefined> {
  const { keys: found } = await store.list(PREFIX, { limit: 1 })
  if (found.length > 0) return undefined
  const text = `skep_${randomBytes(32).toString('base64url')}`
  const file = adminTokenFile(dataDir)
  // The file comes first: cut off in between, the store still has no token, and the next start makes another.
  await writePrivate(file, `${text}\n`)
  const hash = sha256(text)
  const record: TokenRecord = {
    id: hash.slice(0, 16),
    name: 'admin',
    tenant: '*',
    role: 'admin',
    createdAt: new Date().toISOString(),
  }
  await store.put(keys.token(hash), encodeRecord(record), { ifAbsent: true })
  return { text, file }
}

async function writePrivate(file: string, text: string): Promise<void> {
  await mkdir(join(file, '..'), { recursive: true, mode: 0o700 })
  const scratch = `${file}.${randomBytes(6).toString('hex')}`
  try {
    await writeFile(scratch, text, { mode: 0o600, flag: 'wx' })
    await rename(scratch, file)
  } catch (error) {
    await rm(scratch, { force: true })
    throw error
  }
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
