import { randomUUID } from 'node:crypto'
import { OpenAPIHono } from '@hono/zod-openapi'
import { HTTPException } from 'hono/http-exception'
import type { Logger } from 'pino'
import type { ConductBook } from '../host/conduct-book.ts'
import type { VersionLimits } from '../host/limit-schemas.ts'
import { SkepError } from '../host/errors.ts'
import type { TokenRecord, VersionSettings } from '../host/records.ts'
import type { Registry } from '../host/registry.ts'
import type { Store } from '../host/store/store.ts'
import type { UsageLine } from '../host/usage.ts'
import type { Limits } from '../sandbox/limits.ts'
import type { StartReport } from '../sandbox/sandbox.ts'
import { authenticate } from './auth.ts'
import { readSmallBody } from './limited-body.ts'
import { problemResponse } from './problem.ts'
import { addDeploymentRoutes } from './routes/deployments.ts'
import { addFunctionRoutes } from './routes/functions.ts'
import { addHostRoutes } from './routes/host.ts'
import { addInvokeRoute } from './routes/invoke.ts'
import { addQuarantineRoutes } from './routes/quarantine.ts'
import { addRouteRoutes } from './routes/routes.ts'
import { addTokenRoutes } from './routes/tokens.ts'
import { addUsageRoute } from './routes/usage.ts'
import { addVersionRoutes } from './routes/versions.ts'
import { Tokens } from './tokens.ts'

export interface ApiOptions {
  registry: Registry
  store: Store
  /** Loads a bundle in a sandbox of its own. Rejects with `start_failed` where it does not start. */
  check(bundle: Uint8Array, settings: VersionSettings, name: { tenant: string; function: string }): Promise<StartReport>
  /** How functions behaved, and an operator's word that one may be tried again. */
  conduct: Pick<ConductBook, 'records' | 'recordsOf' | 'release'>
  /** One event through a function: the deployed version, or the given one. */
  invoke(tenant: string, fn: string, request: Request, version?: string): Promise<Response>
  log: Logger
  /** What `/v1/status` answers. `dataPort` is for everybody, the rest for operators. */
  status(): Promise<{ dataPort: number } & Record<string, unknown>>
  /** All workers' metrics in Prometheus' text format. */
  metrics(): Promise<string>
  /** What functions use, the busiest first: of all tenants or of one. */
  usage(tenant: string | undefined): Promise<UsageLine[]>
  /** False while starting and draining. */
  ready(): boolean
  limits: Limits
  /** The most that a version of the tenant's may ask for; default: no bounds but the settings' own. */
  ceilings?(tenant: string): VersionLimits
  /** Default: tokens kept in `store`. */
  tokens?: Tokens
}

export interface Api {
  fetch(request: Request): Promise<Response>
  /** The OpenAPI 3.1 document. */
  openapi(): object
}

export interface ApiEnv {
  Variables: {
    requestId: string
    token: TokenRecord
    /** The tenant that the request is about. */
    tenant: string
    /** An operator's request that names no tenant. */
    everyTenant: boolean
  }
}

export type ApiApp = OpenAPIHono<ApiEnv>

const DESCRIPTION =
  'Deploys, routes and watches the functions of a skep host. Needs `Authorization: Bearer skep_…`, but for `/healthz`, `/readyz`, ' +
  '`/metrics` and `/openapi.json`. Tokens are scoped to a tenant and a role; an operator’s token names the tenant by the ' +
  'header `skep-tenant` or `?tenant=` (default: `default`). Errors are RFC 9457 problem documents with a `code`.'

/** The control API over the given host. Never rejects: whatever fails is answered as a problem document. */
export function createApi(options: ApiOptions): Api {
  const { log } = options
  const tokens = options.tokens ?? new Tokens(options.store)
  const app: ApiApp = new OpenAPIHono<ApiEnv>({
    defaultHook: (result) => {
      if (!result.success) throw new SkepError('invalid_request', describe(result.target, result.error.issues))
    },
  })

  app.use(async (context, next) => {
    const given = context.req.header('x-request-id')
    const requestId = given !== undefined && /^[\w.-]{1,128}$/.test(given) ? given : randomUUID()
    context.set('requestId', requestId)
    await next()
    context.res.headers.set('x-request-id', requestId)
    const { method, path } = context.req
    if (method === 'GET' || method === 'HEAD') return
    const token = context.get('token') as TokenRecord | undefined
    const who = token === undefined ? {} : { token: token.id, by: token.name, tenant: context.get('tenant') }
    log.info({ requestId, method, path, status: context.res.status, ...who }, 'API write')
  })
  app.use('/v1/*', authenticate(tokens))
  const streamed = /^\/v1\/functions\/[^/]+\/(versions|invoke)$/
  app.use('/v1/*', (context, next) => (streamed.test(context.req.path) ? next() : readSmallBody(context, next)))

  app.openAPIRegistry.registerComponent('securitySchemes', 'token', { type: 'http', scheme: 'bearer' })
  addFunctionRoutes(app, options)
  addVersionRoutes(app, options)
  addDeploymentRoutes(app, options)
  addRouteRoutes(app, options)
  addInvokeRoute(app, options)
  addQuarantineRoutes(app, options)
  addTokenRoutes(app, tokens)
  addHostRoutes(app, options)
  addUsageRoute(app, options)
  const openapi = () =>
    app.getOpenAPI31Document({
      openapi: '3.1.0',
      info: { title: 'skep control API', version: '1', description: DESCRIPTION },
      security: [{ token: [] }],
    })
  app.get('/openapi.json', (context) => context.json(openapi()))

  app.notFound((context) => {
    const what = `There is no ${context.req.method} ${context.req.path.slice(0, 200)} here. /openapi.json lists what there is.`
    return problemResponse(new SkepError('not_found', what), context.get('requestId'))
  })
  app.onError((cause, context) => {
    const requestId = context.get('requestId')
    const error = toSkepError(cause)
    if (error.status >= 500) log.error({ requestId, code: error.code, err: cause }, 'API request failed')
    return problemResponse(error, requestId)
  })
  return { fetch: async (request) => app.fetch(request), openapi }
}

function toSkepError(cause: unknown): SkepError {
  if (cause instanceof SkepError) return cause
  if (cause instanceof HTTPException && cause.status < 500)
    return new SkepError('invalid_request', `${cause.message}.`, { cause })
  return new SkepError('internal', 'Internal error', { cause })
}

/** 'body: role: Invalid option: …', for every mistake. */
function describe(target: string, issues: readonly { path: PropertyKey[]; message: string }[]): string {
  const where = target === 'json' ? 'body' : target
  return issues.map(({ path, message }) => [where, ...(path.length > 0 ? [path.join('.')] : []), message].join(': ')).join('; ')
}
