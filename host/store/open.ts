import { SkepError } from '../errors.ts'
import { assertPrefix } from './_key.ts'
import { openFileStore } from './file.ts'
import type { FileStoreOptions } from './file.ts'
import type { S3StoreOptions } from './s3.ts'
import type { Store } from './store.ts'

export interface OpenStoreOptions {
  file?: FileStoreOptions
  s3?: Omit<S3StoreOptions, 'bucket' | 'prefix'>
}

const ALLOWED = ['file:DIR', 's3://BUCKET/PREFIX']

/** S3 ends keys at 1,024 bytes; what the prefix takes, the keys cannot. */
const MAX_PREFIX_BYTES = 250

/** Opens what `description` names: `file:/var/lib/skep`, `file:./data`, `s3://bucket`, `s3://bucket/some/prefix`. */
export async function openStore(description: string, options: OpenStoreOptions = {}): Promise<Store> {
  if (description.startsWith('file:')) return openFileStore(parseFolder(description), options.file)
  if (description.startsWith('s3://')) {
    const place = parseBucket(description)
    // The SDK takes tenths of a second and tens of megabytes; who keeps a folder does not pay for it.
    const { openS3Store } = await import('./s3.ts')
    return openS3Store({ ...options.s3, ...place })
  }
  throw refused(description, 'it is of no known kind')
}

function parseFolder(description: string): string {
  const folder = description.slice('file:'.length)
  if (folder === '') throw refused(description, 'the folder is missing')
  if (folder.includes('\0')) throw refused(description, 'a path cannot have a NUL')
  if (folder.startsWith('//') && !folder.startsWith('///'))
    throw refused(description, 'a file has no host; write file:/DIR or file:///DIR')
  if (folder.startsWith('~')) throw refused(description, '"~" is the shell\'s; write the whole path')
  return folder
}

function parseBucket(description: string): { bucket: string; prefix: string } {
  const [bucket = '', ...segments] = description.slice('s3://'.length).split('/')
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{2,62}$/.test(bucket)) throw refused(description, `"${bucket}" cannot be a bucket's name`)
  if (segments.at(-1) === '') segments.pop()
  const prefix = segments.join('/')
  if (/[?#]/.test(prefix)) throw refused(description, 'endpoint and region are settings of their own, not part of the address')
  if (Buffer.byteLength(prefix) > MAX_PREFIX_BYTES)
    throw refused(description, `the prefix is longer than ${MAX_PREFIX_BYTES} bytes`)
  try {
    if (prefix !== '') assertPrefix(`${prefix}/`)
  } catch (error) {
    throw refused(description, (error as Error).message)
  }
  return { bucket, prefix }
}

function refused(description: string, why: string): SkepError {
  return new SkepError(
    'invalid_config',
    `The store ${JSON.stringify(description)} is refused: ${why}. Allowed are ${ALLOWED.join(' and ')}.`,
    {
      details: { allowed: ALLOWED },
    },
  )
}
