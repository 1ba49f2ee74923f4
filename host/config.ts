import { availableParallelism } from 'node:os'
import { z } from 'zod'
import { ceilingsSchema, limitsSchema, versionLimitsSchema } from './limit-schemas.ts'
import type { VersionLimits } from './limit-schemas.ts'
import { NAME } from './records.ts'

/** The host's settings, from defaults, file, environment and flags: later wins. Unknown keys are errors. */

const port = z.int().min(0).max(65_535)
const egress = z.strictObject({ allow: z.array(z.string()).default([]), deny: z.array(z.string()).default([]) }).prefault({})

export const configSchema = z.strictObject({
  /** Of the data port; 0 takes a free one. */
  port: port.default(8080),
  address: z.string().default('0.0.0.0'),
  api: z.strictObject({ port: port.default(8081), address: z.string().default('127.0.0.1') }).prefault({}),
  workers: z
    .int()
    .min(1)
    .max(1024)
    .default(() => availableParallelism()),
  /** Folder of everything that the host keeps on its own disk. */
  data: z.string().default('.skep'),
  /** `file:DIR` or `s3://BUCKET/PREFIX`; default `file:` and the folder `store` in `data`. */
  store: z.string().optional(),
  s3: z
    .strictObject({
      endpoint: z.url().optional(),
      /** Default: the AWS SDK's own look-up, and `us-east-1` for an `endpoint` of one's own. */
      region: z.string().optional(),
      forcePathStyle: z.boolean().default(true),
    })
    .prefault({}),
  listener: z.enum(['auto', 'uws', 'node']).default('auto'),
  placement: z.enum(['inline', 'cell']).default('inline'),
  limits: limitsSchema.prefault({}),
  /** The most that a version may ask for itself. Asking for more is refused at upload. */
  ceilings: ceilingsSchema.prefault({}),
  /** How many loaded functions a worker keeps. */
  pool: z
    .strictObject({
      maxIsolates: z.int().min(1).default(500),
      /** Memory of all of a worker's isolates together, MB. */
      maxMemoryMb: z.number().positive().default(2048),
      /** An isolate that had nothing to do for so long is dropped, ms. */
      idleMs: z.number().positive().default(300_000),
    })
    .prefault({}),
  /** Addresses, networks or hosts, with or without a port, that functions may reach beside public ones, or may not reach. */
  egress,
  /** What the operator sets for single tenants, by name. */
  tenants: z
    .record(
      z.string().regex(NAME),
      z.strictObject({
        /** Tenants of different cordons never share a process. */
        cordon: z.string().regex(NAME).default('default'),
        /** On top of the host's own lists, which win where they deny. */
        egress,
        /** Instead of the host's own, where they are given. */
        ceilings: versionLimitsSchema.default({}),
      }),
    )
    .default({}),
  log: z.strictObject({ level: z.enum(['debug', 'info', 'warn', 'error']).default('info') }).prefault({}),
  /** How long a drain may take before what is left is cut, ms. */
  drainMs: z.number().positive().default(30_000),
})

export type Config = z.infer<typeof configSchema>
export type TenantSettings = Config['tenants'][string]
/** What a user may write: every key optional. */
export type ConfigInput = z.input<typeof configSchema>

/** Of a tenant that the operator says nothing about. */
const ANY_TENANT: TenantSettings = { cordon: 'default', egress: { allow: [], deny: [] }, ceilings: {} }

export function tenantSettings(config: Pick<Config, 'tenants'>, tenant: string): TenantSettings {
  return Object.hasOwn(config.tenants, tenant) ? config.tenants[tenant]! : ANY_TENANT
}

/** The most that a version of the tenant's may ask for. */
export function ceilingsOf(config: Pick<Config, 'ceilings' | 'tenants'>, tenant: string): VersionLimits {
  return { ...config.ceilings, ...tenantSettings(config, tenant).ceilings }
}
