import { z } from 'zod'
import { SkepError } from './errors.ts'
import { versionLimitsSchema } from './limit-schemas.ts'

/** The small JSON records of the store, and the names they may have. What was stored by others is read with suspicion. */

export const NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/
const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/
/** Of a wildcard. Each costs a look-up for every name that is asked for and not known. */
const MOST_LABELS = 10

/** A tenant's or function's name: a DNS label, so that it can stand in hostnames, keys and metric labels as it is. */
export function checkName(kind: 'function' | 'tenant', name: string): string {
  if (NAME.test(name)) return name
  throw new SkepError(
    'invalid_name',
    `${JSON.stringify(name.slice(0, 80))} is no ${kind} name. Use 1 to 63 of a-z, 0-9 and '-', not beginning or ending with '-'.`,
  )
}

/** A hostname to route, lower-cased: `app.example.com`, or `*.example.com` for every name below it. */
export function checkHostname(hostname: string): string {
  const lower = hostname.toLowerCase().replace(/\.$/, '')
  const isWildcard = lower.startsWith('*.')
  const labels = (isWildcard ? lower.slice(2) : lower).split('.')
  const isFound = !isWildcard || labels.length <= MOST_LABELS
  if (lower.length <= 253 && isFound && labels.every((label) => LABEL.test(label))) return lower
  throw new SkepError(
    'invalid_hostname',
    `${JSON.stringify(hostname.slice(0, 80))} is no hostname. Give a name such as app.example.com or *.example.com ` +
      `(of at most ${MOST_LABELS} parts), without scheme, port or path; names in other scripts in their xn-- form.`,
  )
}

/** The wildcards that may answer for a name, the most specific first: `a.b.c` → `*.b.c`, `*.c`. */
export function wildcardsOf(hostname: string): string[] {
  const labels = hostname.replace(/^\*\./, '').split('.')
  const names: string[] = []
  for (let i = Math.max(1, labels.length - MOST_LABELS); i < labels.length; i++) names.push(`*.${labels.slice(i).join('.')}`)
  return names
}

const name = z.string().regex(NAME)
const date = z.iso.datetime()

export const routeRecord = z.object({ tenant: name, function: name, createdAt: date })
export type RouteRecord = z.infer<typeof routeRecord>

export const deploymentRecord = z.object({
  /** Counts up from 1 within a function. */
  id: z.int().positive(),
  versions: z.array(z.object({ id: z.string().regex(/^[0-9a-f]{16}$/), percent: z.number().min(0).max(100) })).min(1),
  createdAt: date,
  /** The name of the token that did it, or 'library'. */
  by: z.string(),
})
export type DeploymentRecord = z.infer<typeof deploymentRecord>

export const functionRecord = z.object({
  tenant: name,
  name,
  createdAt: date,
  deployment: deploymentRecord.nullable(),
  /** Earlier deployments, newest first, at most HISTORY. */
  history: z.array(deploymentRecord),
})
export type FunctionRecord = z.infer<typeof functionRecord>
export const HISTORY = 100

export const versionSettings = z.strictObject({
  vars: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/), z.string()).default({}),
  limits: versionLimitsSchema.default({}),
  /** Where it is to run at least: it may ask to be kept further from others than the host would keep it. */
  placement: z.enum(['cell', 'solo']).optional(),
  /** A word of the author's own for this version. */
  tag: z.string().max(100).default(''),
})
export type VersionSettings = z.infer<typeof versionSettings>

export const versionRecord = z.object({
  /** The first 16 hexadecimal digits of the SHA-256 over bundle and settings: same content, same version. */
  id: z.string().regex(/^[0-9a-f]{16}$/),
  bundle: z.string().regex(/^[0-9a-f]{64}$/),
  /** Bytes of the bundle. */
  size: z.int().nonnegative(),
  settings: versionSettings,
  handlers: z.array(z.string()),
  /** CPU time that evaluating it took when it was checked, ms. */
  startCpuMs: z.number().nonnegative(),
  createdAt: date,
  by: z.string(),
})
export type VersionRecord = z.infer<typeof versionRecord>

export const tokenRecord = z.object({
  id: z.string(),
  name: z.string(),
  /** `*` is every tenant: an operator's. */
  tenant: z.union([name, z.literal('*')]),
  role: z.enum(['admin', 'deploy', 'read']),
  createdAt: date,
})
export type TokenRecord = z.infer<typeof tokenRecord>

export const keys = {
  route: (hostname: string) => `routes/${hostname}`,
  function: (tenant: string, fn: string) => `tenants/${tenant}/functions/${fn}`,
  version: (tenant: string, fn: string, id: string) => `tenants/${tenant}/versions/${fn}/${id}`,
  bundle: (sha256: string) => `bundles/${sha256}`,
  /** Tokens are found by the SHA-256 of their text; the text itself is stored nowhere. */
  token: (sha256: string) => `tokens/${sha256}`,
}

export function encodeRecord(record: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(record))
}

/** Throws `store_corrupt` for bytes that are no such record. */
export function decodeRecord<T>(schema: z.ZodType<T>, key: string, bytes: Uint8Array): T {
  try {
    return schema.parse(JSON.parse(Buffer.from(bytes).toString()))
  } catch (cause) {
    const hint = 'Restore the object, or delete it and deploy or route again.'
    throw new SkepError('store_corrupt', `The store's object ${key} is damaged. ${hint}`, { cause })
  }
}
