import { S3Client } from '@aws-sdk/client-s3'
import type { S3ClientConfig } from '@aws-sdk/client-s3'
import { NodeHttpHandler } from '@smithy/node-http-handler'
import { SkepError } from '../errors.ts'

export interface S3Connection {
  /** Of a server that is not AWS: `http://127.0.0.1:9000`. */
  endpoint?: string | undefined
  region?: string | undefined
  /** `endpoint/bucket/key` instead of `bucket.endpoint/key`. True by default where an endpoint is given. */
  forcePathStyle?: boolean | undefined
  /** The SDK's own chain (environment, profile, instance, web identity) where none are given. */
  credentials?: S3ClientConfig['credentials'] | undefined
  connectTimeoutMs?: number | undefined
  /** Until the head of the answer. A bundle of 10 MB has to be on its way in that time. */
  requestTimeoutMs?: number | undefined
  /** Of one store operation with all its requests and retries. */
  totalTimeoutMs?: number | undefined
}

export const DEFAULT_TOTAL_TIMEOUT_MS = 20_000

export function connect(connection: S3Connection): S3Client {
  const client = new S3Client({
    ...(connection.endpoint === undefined ? {} : { endpoint: connection.endpoint }),
    // Servers that are not AWS take any region, but the signature needs one. For AWS the SDK's chain is asked.
    ...(connection.region !== undefined
      ? { region: connection.region }
      : connection.endpoint === undefined
        ? {}
        : { region: process.env['AWS_REGION'] ?? 'us-east-1' }),
    ...(connection.credentials === undefined ? {} : { credentials: connection.credentials }),
    forcePathStyle: connection.forcePathStyle ?? connection.endpoint !== undefined,
    requestHandler: new NodeHttpHandler({
      connectionTimeout: connection.connectTimeoutMs ?? 2_000,
      requestTimeout: connection.requestTimeoutMs ?? 10_000,
      throwOnRequestTimeout: true,
    }),
    retryMode: 'standard',
    maxAttempts: 3,
    // The signature covers a SHA-256 of the body. The SDK's further checksums come as trailers, which many servers refuse.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  })
  noteUncertainTries(client)
  repeatSkewed(client)
  return client
}

/**
 * Marks what a command fails with in the end when an earlier try of it may have been carried out. A try that the server
 * refused was not: the first one after somebody set this machine's clock, for instance, whose date is too far off.
 */
function noteUncertainTries(client: S3Client): void {
  client.middlewareStack.add(
    (next, context) => async (args) => {
      try {
        return await next(args)
      } catch (error) {
        if (context[UNCERTAIN] === true) (error as S3Failure)[UNCERTAIN] = true
        if (!isRefusal(statusOf(error))) context[UNCERTAIN] = true
        throw error
      }
    },
    // Below the retries, which have a high priority.
    { name: 'skepUncertainTries', step: 'finalizeRequest', priority: 'low' },
  )
}

/**
 * The SDK learns the server's time from the first request that is refused for its date and sends that one again, but not
 * the others that were under way with it.
 */
function repeatSkewed(client: S3Client): void {
  client.middlewareStack.add(
    (next) => async (args) => {
      try {
        return await next(args)
      } catch (error) {
        if ((error as S3Failure)?.name !== 'RequestTimeTooSkewed') throw error
        return next(args)
      }
    },
    { name: 'skepSkewedClock', step: 'initialize' },
  )
}

function isRefusal(status: number | undefined): boolean {
  return status !== undefined && status >= 400 && status < 500
}

const UNCERTAIN = 'skepUncertain'

/** What the SDK throws, as far as it matters here. */
export interface S3Failure {
  [UNCERTAIN]?: boolean
  name?: string
  message?: string
  code?: string
  $metadata?: { httpStatusCode?: number }
}

export function statusOf(error: unknown): number | undefined {
  return (error as S3Failure)?.$metadata?.httpStatusCode
}

/** Whether an earlier try of the same request went out, which the server may have carried out. */
export function mayHaveBeenDone(error: unknown): boolean {
  return (error as S3Failure)?.[UNCERTAIN] === true
}

/** The object is absent; a bucket that is absent is an operator's mistake, not an empty store. */
export function isNoKey(error: unknown): boolean {
  return statusOf(error) === 404 && (error as S3Failure).name !== 'NoSuchBucket'
}

/** A condition did not hold. 409 is AWS's answer to conditional writes that collide; 404 that to If-Match on nothing. */
export function isConditionFailure(error: unknown): boolean {
  const status = statusOf(error)
  return status === 412 || (status === 409 && (error as S3Failure).name === 'ConditionalRequestConflict') || isNoKey(error)
}

/** Codes of AWS, MinIO, Ceph and the like that mean no room. */
const FULL = /^(XMinioStorageFull|XMinioAdminBucketQuotaExceeded|QuotaExceeded|InsufficientStorage|StorageFull|NoSpaceLeft)/

/** A server's own limits on keys, narrower than ours. */
const INVALID = /^(XMinioInvalidObjectName|InvalidObjectName|KeyTooLongError)$/

export function s3Error(error: unknown, doing: string, where: string): SkepError {
  if (error instanceof SkepError) return error
  const { name, message, code } = error as S3Failure
  const status = statusOf(error)
  const said = [status, name === 'Error' || name === 'Unknown' ? undefined : name, code, message].filter(Boolean).join(' ')
  if (status === 507 || FULL.test(name ?? '')) {
    return new SkepError('store_full', `Cannot ${doing} ${where}: the S3 server has no room (${said}). Nothing was changed.`, {
      cause: error,
    })
  }
  if (INVALID.test(name ?? '')) {
    return new SkepError('invalid_request', `Cannot ${doing} ${where}: the S3 server does not take this key (${said}).`, {
      cause: error,
    })
  }
  const because = (text: string): SkepError =>
    new SkepError('store_unavailable', `Cannot ${doing} ${where}: ${text} (${said}).`, { cause: error })
  if (name === 'NoSuchBucket') return because('the bucket does not exist; create it or mend the name')
  if (name === 'CredentialsProviderError') return because('no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY')
  if (message === 'Region is missing') return because('no region; set AWS_REGION')
  if (status === 401 || status === 403) return because('the S3 server refuses the credentials; check the keys and the policy')
  if (name === 'ObjectParentIsFile') return because("the S3 server cannot hold key 'a/b' beside key 'a'; use one that does")
  if (status === undefined) return because('the S3 server does not answer; check the endpoint and the network')
  return because('the S3 server reports an error')
}

/**
 * Bounds an operation with all its requests. The SDK's timeouts are per request and end with the head of the answer: a
 * body that stalls would hang for ever. The race is there for whatever does not listen to the signal.
 */
export async function within<T>(ms: number, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const controller = new AbortController()
  const timer = setTimeout(() => {
    const error = Object.assign(new Error(`no answer within ${ms} ms`), { name: 'TimeoutError' })
    reject(error)
    controller.abort(error)
  }, ms)
  try {
    return await Promise.race([work(controller.signal), late])
  } finally {
    clearTimeout(timer)
  }
}
