import { availableParallelism } from 'node:os'
import { z } from 'zod'
import { egressMistake } from '../sandbox/operations/egress-entry.ts'
import type { Egress } from '../sandbox/operations/egress.ts'
import { CLIENT_LIMITS } from './listener/_limits.ts'
import { PLACEMENTS } from './placement.ts'
import { ceilingsSchema, limitsSchema, versionLimitsSchema } from './limit-schemas.ts'
import type { VersionLimits } from './limit-schemas.ts'
import { NAME } from './records.ts'

/** The host's settings, from defaults, file, environment and flags: later wins. Unknown keys are errors. */

const port = z.int().min(0).max(65_535)
const egressEntry = z.string().superRefine((entry, context) => {
  const message = egressMistake(entry)
  if (message !== '') context.addIssue({ code: 'custom', message })
})
const egress = z.strictObject({ allow: z.array(egressEntry).default([]), deny: z.array(egressEntry).default([]) }).prefault({})

export const configSchema = z.strictObject({
  /** Of the data port; 0 takes a free one. */
  port: port.default(8080),
  address: z.string().default('0.0.0.0'),
  /** Served where there are certificates. */
  tls: z
    .strictObject({
      port: port.default(8443),
      /** The least version of TLS. */
      minVersion: z
        .preprocess((value) => (typeof value === 'number' ? String(value) : value), z.enum(['1.2', '1.3']))
        .default('1.2'),
      /** PEM files. Host names come from each certificate; the first one serves those that none names. */
      certificates: z.array(z.strictObject({ cert: z.string(), key: z.string() })).default([]),
    })
    .prefault({}),
  /** What the listeners hold their clients to. */
  clients: z
    .strictObject({
      maxConnections: z.int().min(1).max(1_000_000).default(CLIENT_LIMITS.maxConnections),
      idleMs: z.int().min(5_000).max(240_000).default(CLIENT_LIMITS.idleMs),
    })
    .prefault({}),
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
  placement: z.enum(PLACEMENTS).default('adaptive'),
  /** A new version is trusted after so many events that ended well, and not before it is so old; both 0: at once. */
  probation: z
    .strictObject({ events: z.int().min(0).default(20), seconds: z.number().min(0).max(86_400).default(2) })
    .prefault({}),
  /** How long a function that took a process down is not run, s: the first time, then doubled, and at most. */
  quarantine: z
    .strictObject({
      seconds: z.number().positive().max(86_400).default(10),
      mostSeconds: z.number().positive().max(604_800).default(3_600),
    })
    .prefault({}),
  guard: z
    .strictObject({
      /** Resident memory from which a worker or cell is replaced, MB; default: its share of the machine's. */
      rssMb: z.number().min(128).optional(),
      /** Workers and cells in memory cgroups of their own, where the system permits it. */
      cgroup: z.enum(['auto', 'off']).default('auto'),
    })
    .prefault({}),
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
  /** When a worker refuses requests before they queue. */
  admission: z
    .strictObject({
      /** Requests of one tenant that a worker has in flight at most. */
      inFlight: z.int().min(1).max(1_000_000).default(2_000),
      /** A request that is expected to wait for longer is refused at once, ms. */
      maxWaitMs: z.number().positive().max(600_000).default(10_000),
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
        /** Where its functions run at least: the stricter one of this and the host's holds. */
        placement: z.enum(PLACEMENTS).optional(),
        /** Instead of `admission.inFlight`. */
        inFlight: z.int().min(1).max(1_000_000).optional(),
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

/** The host's lists, and its own ports, as far as they are known before anything listens. */
export function hostEgress(
  config: Pick<Config, 'egress' | 'port' | 'api' | 'tls'>,
  port = config.port,
  tlsPort = config.tls.certificates.length > 0 ? config.tls.port : 0,
): Egress {
  return { ...config.egress, ownPorts: [port, tlsPort, config.api.port].filter((own) => own !== 0) }
}

export function tenantSettings(config: Pick<Config, 'tenants'>, tenant: string): TenantSettings {
  return Object.hasOwn(config.tenants, tenant) ? config.tenants[tenant]! : ANY_TENANT
}

/** The most that a version of the tenant's may ask for. */
export function ceilingsOf(config: Pick<Config, 'ceilings' | 'tenants'>, tenant: string): VersionLimits {
  return { ...config.ceilings, ...tenantSettings(config, tenant).ceilings }
}
