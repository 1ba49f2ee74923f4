import { z } from '@hono/zod-openapi'
import { OFFENCES } from '../host/conduct.ts'
import { deploymentRecord, tokenRecord, versionRecord, versionSettings } from '../host/records.ts'

/** Every shape that the API takes or gives, in one place; the OpenAPI document is made of them. */

const name = z.string().openapi({ example: 'hello' })

export const problem = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    code: z.string(),
    requestId: z.string(),
    details: z.record(z.string(), z.unknown()).optional(),
  })
  .openapi('Problem')

export const functionParams = z.object({ name: name.openapi({ param: { name: 'name', in: 'path' } }) })
export const versionParams = functionParams.extend({ id: z.string().openapi({ param: { name: 'id', in: 'path' } }) })
export const routeParams = z.object({
  hostname: z.string().openapi({ param: { name: 'hostname', in: 'path' }, example: 'app.example.com' }),
})
export const tokenParams = z.object({ id: z.string().openapi({ param: { name: 'id', in: 'path' } }) })

/** Present on every endpoint, for operators. */
export const tenantQuery = z.object({ tenant: z.string().optional() })
export const pageQuery = tenantQuery.extend({
  cursor: z.string().max(2048).optional(),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
})

export const deployment = z.object(deploymentRecord.shape).openapi('Deployment')
export const version = z.object(versionRecord.shape).openapi('Version')
export const token = z.object(tokenRecord.shape).openapi('Token')
export const fn = z
  .object({ name, tenant: z.string(), createdAt: z.string(), deployment: deployment.nullable() })
  .openapi('Function')
export const route = z
  .object({ hostname: z.string(), tenant: z.string(), function: z.string(), createdAt: z.string() })
  .openapi('Route')

export const quarantine = z
  .object({
    function: z.string(),
    tenant: z.string(),
    version: z.string(),
    state: z.enum(['suspected', 'quarantined', 'half_open']),
    since: z.string(),
    /** Absent unless it is in quarantine. */
    until: z.string().optional().openapi({ description: 'When it is tried again.' }),
    message: z.string(),
    /** Quarantines in a row. */
    level: z.int(),
    offences: z.array(z.object({ kind: z.enum(OFFENCES), at: z.string(), message: z.string() })),
    counts: z.record(z.string(), z.int()),
  })
  .openapi('Quarantine')
export const usage = z
  .object({
    windowSeconds: z.number().openapi({ description: 'The time over which rates are averages.' }),
    cores: z.int(),
    items: z.array(
      z.object({
        tenant: z.string(),
        name,
        cpuMsPerSecond: z.number().openapi({ description: 'CPU time of its isolates, that of killed ones included.' }),
        share: z.number().openapi({ description: 'The same as a share of all cores, 0 to 1.' }),
        requestsPerSecond: z.number(),
        refusedPerSecond: z.number().openapi({ description: 'Answered `overloaded` or `saturated`.' }),
        failedPerSecond: z.number().openapi({ description: 'Answered with any other error code.' }),
        coldStartsPerSecond: z.number(),
        inFlight: z.int(),
        isolates: z.int(),
        memoryBytes: z.number(),
      }),
    ),
  })
  .openapi('Usage')

/** A page of items; `cursor` is absent on the last one. */
export const pageOf = <T extends z.ZodType>(item: T) => z.object({ items: z.array(item), cursor: z.string().optional() })

export const uploadMetadata = z.strictObject({
  ...versionSettings.shape,
  /** Where it is given, the bundle must have this hash. */
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
})

export const deploymentBody = z
  .strictObject({
    versions: z
      .array(z.strictObject({ id: z.string().max(100), percent: z.number().min(0).max(100) }))
      .min(1)
      .max(20),
  })
  .openapi('NewDeployment')

export const rollbackBody = z
  .strictObject({ version: z.string().max(100).optional().openapi({ description: 'Default: what answered before.' }) })
  .openapi('Rollback')

export const routeBody = z.strictObject({ function: z.string() }).openapi('NewRoute')

export const invokeBody = z
  .strictObject({
    path: z.string().startsWith('/').default('/'),
    method: z.string().default('GET'),
    headers: z.record(z.string(), z.string()).default({}),
    data: z.string().optional(),
  })
  .openapi('Invocation')

export const tokenBody = z
  .strictObject({
    name: z.string().regex(/^[^\p{Cc}]{1,100}$/u, 'A name of 1 to 100 characters'),
    role: z.enum(['admin', 'deploy', 'read']),
    tenant: z
      .string()
      .optional()
      .openapi({ description: 'Default: the tenant of the request. `*`, every one, is for operators.' }),
  })
  .openapi('NewToken')
export const newToken = token
  .extend({ token: z.string().openapi({ description: 'Shown here and never again.' }) })
  .openapi('CreatedToken')

export const json = <T extends z.ZodType>(schema: T, description: string) => ({
  description,
  content: { 'application/json': { schema } },
})

/** A body's description for the document alone. */
export function unparsed(content: Record<string, z.ZodType>) {
  const described = Object.entries(content).map(([type, schema]) => {
    const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: 'input' })
    return [type, { schema: rest as object }]
  })
  return { required: true, content: Object.fromEntries(described) as Record<string, { schema: object }> }
}

/** What every endpoint may answer when it does not do what was asked. */
export const failures = {
  default: { description: 'A problem', content: { 'application/problem+json': { schema: problem } } },
} as const
