import { randomUUID } from 'node:crypto'
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from '@aws-sdk/client-s3'
import type { S3Client } from '@aws-sdk/client-s3'
import { SkepError } from '../errors.ts'
import { isConditionFailure, isNoKey, s3Error, statusOf, mayHaveBeenDone, within } from './_s3-client.ts'
import { keyToName, nameToKey, prefixToName } from './_s3-names.ts'
import type { StoredObject, WriteCondition } from './store.ts'

/** Every write bears a number of its own, by which it is known again. */
const WRITE_ID = 'skep-write'

interface Listed {
  key: string
  size: number
}

/** The requests, bounded in time and with our errors; keys are relative to the prefix. Conditions go to the server as they are. */
export class S3Objects {
  readonly description: string
  readonly #client: S3Client
  readonly #bucket: string
  readonly #prefix: string
  readonly #totalTimeoutMs: number

  constructor(client: S3Client, at: { bucket: string; prefix: string; totalTimeoutMs: number }) {
    this.#client = client
    this.#bucket = at.bucket
    this.#prefix = at.prefix === '' ? '' : `${at.prefix}/`
    this.#totalTimeoutMs = at.totalTimeoutMs
    this.description = `s3://${at.bucket}${at.prefix === '' ? '' : `/${at.prefix}`}`
  }

  get(key: string, ifNoneMatch?: string): Promise<StoredObject | 'unchanged' | undefined> {
    return this.#run('read', key, async (signal) => {
      try {
        const answer = await this.#client.send(
          new GetObjectCommand({ ...this.#at(key), ...(ifNoneMatch === undefined ? {} : { IfNoneMatch: ifNoneMatch }) }),
          { abortSignal: signal },
        )
        const etag = etagOf(answer)
        signal.addEventListener('abort', () => (answer.Body as { destroy?: () => void } | undefined)?.destroy?.(), { once: true })
        const bytes = (await answer.Body?.transformToByteArray()) ?? new Uint8Array()
        // A server without conditional reads sends it all.
        return etag === ifNoneMatch ? 'unchanged' : { bytes, etag }
      } catch (error) {
        if (statusOf(error) === 304) return 'unchanged'
        if (isNoKey(error)) return undefined
        throw error
      }
    })
  }

  /** ETag, size and the number of the write, without the bytes. */
  head(key: string): Promise<{ etag: string; size: number; writeId: string | undefined } | undefined> {
    return this.#run('read', key, (signal) => this.#head(key, signal))
  }

  put(key: string, bytes: Uint8Array, condition: WriteCondition = {}): Promise<string> {
    const writeId = randomUUID()
    const command = new PutObjectCommand({
      ...this.#at(key),
      Body: bytes,
      ContentLength: bytes.byteLength,
      Metadata: { [WRITE_ID]: writeId },
      ...(condition.ifMatch === undefined ? {} : { IfMatch: condition.ifMatch }),
      ...(condition.ifAbsent ? { IfNoneMatch: '*' } : {}),
    })
    const isConditional = condition.ifMatch !== undefined || condition.ifAbsent === true
    return this.#run('write', key, async (signal) => {
      try {
        return etagOf(await this.#client.send(command, { abortSignal: signal }))
      } catch (error) {
        if (!isConditional || !isConditionFailure(error)) throw error
        if (!mayHaveBeenDone(error)) throw changed(key, error)
        return await this.#settle(key, writeId, error, signal)
      }
    })
  }

  /** `ifMatch` is for servers that heed it on DELETE: others delete whatever is there. */
  delete(key: string, ifMatch?: string): Promise<void> {
    return this.#run('delete', key, async (signal) => {
      try {
        await this.#client.send(
          new DeleteObjectCommand({ ...this.#at(key), ...(ifMatch === undefined ? {} : { IfMatch: ifMatch }) }),
          {
            abortSignal: signal,
          },
        )
      } catch (error) {
        if (!isConditionFailure(error)) throw error
        if (ifMatch === undefined) return
        // The first try may have removed it and the second one found nothing.
        if (mayHaveBeenDone(error) && (await this.#head(key, signal)) === undefined) return
        throw changed(key, error)
      }
    })
  }

  /** `cursor` is the server's own: MinIO leaves keys out of what it lists from a given key on (StartAfter). */
  list(prefix: string, cursor: string | undefined, limit: number): Promise<{ entries: Listed[]; cursor: string | undefined }> {
    return this.#run('list', prefix, async (signal) => {
      const command = new ListObjectsV2Command({
        Bucket: this.#bucket,
        Prefix: this.#prefix + prefixToName(prefix),
        MaxKeys: limit,
        ...(cursor === undefined ? {} : { ContinuationToken: cursor }),
      })
      const answer = await this.#client.send(command, { abortSignal: signal })
      const entries = (answer.Contents ?? []).flatMap((entry): Listed[] => {
        const key = nameToKey(entry.Key!.slice(this.#prefix.length))
        return key === undefined ? [] : [{ key, size: entry.Size ?? 0 }]
      })
      return { entries, cursor: answer.IsTruncated ? answer.NextContinuationToken : undefined }
    })
  }

  close(): void {
    this.#client.destroy()
  }

  async #head(
    key: string,
    signal: AbortSignal,
  ): Promise<{ etag: string; size: number; writeId: string | undefined } | undefined> {
    try {
      const answer = await this.#client.send(new HeadObjectCommand(this.#at(key)), { abortSignal: signal })
      return { etag: etagOf(answer), size: answer.ContentLength ?? 0, writeId: answer.Metadata?.[WRITE_ID] }
    } catch (error) {
      if (isNoKey(error)) return undefined
      throw error
    }
  }

  /**
   * The condition failed on a second try. Either the first one was carried out and its answer lost, and this write stands
   * in its own way, or somebody else was faster. Equal bytes prove nothing (two counters reach 6), the write's number
   * does. If it is not there, ours may still have been, for a moment, before a third writer's: nobody can tell.
   */
  async #settle(key: string, writeId: string, error: unknown, signal: AbortSignal): Promise<string> {
    const now = await this.#head(key, signal)
    if (now?.writeId === writeId) return now.etag
    throw new SkepError(
      'store_unavailable',
      `The write of "${key}" in ${this.description} was interrupted, and somebody else wrote since: it may or may not have been in force between. Read it again before the next try.`,
      { cause: error },
    )
  }

  #at(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.#bucket, Key: this.#prefix + keyToName(key) }
  }

  async #run<T>(doing: string, key: string, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    try {
      return await within(this.#totalTimeoutMs, work)
    } catch (error) {
      throw s3Error(error, doing, `"${key}" in ${this.description}`)
    }
  }
}

function etagOf(answer: { ETag?: string | undefined }): string {
  if (answer.ETag === undefined) throw new Error('the answer has no ETag')
  return answer.ETag
}

function changed(key: string, cause: unknown): SkepError {
  return new SkepError('precondition_failed', `"${key}" has been written by somebody else.`, { cause })
}
