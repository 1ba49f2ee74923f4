import { randomUUID } from 'node:crypto'
import { SkepError } from '../errors.ts'
import type { S3Objects } from './_s3-objects.ts'
import { statusOf } from './_s3-client.ts'
import { OWN_SEGMENT } from './_key.ts'

/** What the server does with conditions. Many ignore them without a word, so asking is the only way to know. */
export interface Conditions {
  put: boolean
  delete: boolean
}

const WRONG_ETAG = '"00000000000000000000000000000000"'

/** Tries the conditions on a key of its own. Rejects when the server is away: that says nothing about conditions. */
export async function probeConditions(objects: S3Objects): Promise<Conditions> {
  const key = `${OWN_SEGMENT}/probe-${randomUUID()}`
  const etag = await objects.put(key, Buffer.from('probe'))
  try {
    const put =
      (await isRefused(objects.put(key, Buffer.from('1'), { ifAbsent: true }))) &&
      (await isRefused(objects.put(key, Buffer.from('2'), { ifMatch: WRONG_ETAG }))) &&
      !(await isRefused(objects.put(key, Buffer.from('3'), { ifMatch: etag })))
    return { put, delete: put && (await isRefused(objects.delete(key, WRONG_ETAG))) }
  } finally {
    // A probe's leftover is a few bytes; failing for it would be worse.
    await objects.delete(key).catch(() => undefined)
  }
}

async function isRefused(write: Promise<unknown>): Promise<boolean> {
  try {
    await write
    return false
  } catch (error) {
    if (error instanceof SkepError && error.code === 'precondition_failed') return true
    // 400 and 501 are how servers say that they do not know the header. Neither says that a condition was judged.
    const status = statusOf((error as Error).cause)
    if (status === 400 || status === 501) return false
    throw error
  }
}
