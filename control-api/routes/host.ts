import { createRoute, z } from '@hono/zod-openapi'
import type { ApiApp, ApiOptions } from '../app.ts'
import { DEFAULT_CEILINGS, LIMIT_NAMES, LIMITS, pick } from '../../sandbox/limits.ts'
import type { LimitRule, VersionLimitName } from '../../sandbox/limits.ts'
import * as schemas from '../schemas.ts'

const numbers = z.record(z.string(), z.number())
const limitDetails = z.object({
  ...{ default: z.number(), value: z.number(), min: z.number(), max: z.number(), unit: z.string(), whole: z.boolean() },
  /** null: the operator's alone. */
  ceiling: z.number().nullable(),
  ...{ what: z.string(), passed: z.string(), code: z.string().nullable() },
})

const limits = createRoute({
  method: 'get',
  path: '/v1/limits',
  tags: ['host'],
  summary: 'The limits of a version that asks for no others, and the most it may ask for',
  request: { query: schemas.tenantQuery },
  responses: {
    200: schemas.json(
      z.object({ limits: numbers, ceilings: numbers, details: z.record(z.string(), limitDetails) }),
      'Limits by name: what holds, the most that a version may ask for, and each in detail',
    ),
    ...schemas.failures,
  },
})

const status = createRoute({
  method: 'get',
  path: '/v1/status',
  tags: ['host'],
  summary: 'The host’s health; for a tenant only its data port and readiness',
  request: { query: schemas.tenantQuery },
  responses: { 200: schemas.json(z.looseObject({ ready: z.boolean(), dataPort: z.int() }), 'Status'), ...schemas.failures },
})

const text = (description: string) => ({ description, content: { 'text/plain': { schema: z.string() } } })
const open = { security: [], tags: ['probes'] }
const healthz = createRoute({ ...open, method: 'get', path: '/healthz', summary: 'It lives', responses: { 200: text('ok') } })
const readyz = createRoute({
  ...open,
  method: 'get',
  path: '/readyz',
  summary: 'It serves; 503 while it starts or drains',
  responses: { 200: text('ready'), 503: text('not ready') },
})
const metrics = createRoute({
  ...open,
  method: 'get',
  path: '/metrics',
  summary: 'Metrics of all workers together, in Prometheus’ text format',
  responses: { 200: text('Metrics') },
})

export function addHostRoutes(app: ApiApp, options: ApiOptions): void {
  app.openapi(limits, (context) => {
    const ceilings = options.ceilings?.(context.get('tenant')) ?? DEFAULT_CEILINGS
    const details = pick(LIMIT_NAMES, (name) => {
      const rule: LimitRule = LIMITS[name]
      const ceiling = ceilings[name as VersionLimitName] ?? rule.ceiling ?? null
      return { ...rule, value: options.limits[name], ceiling, code: rule.code ?? null }
    })
    return context.json({ limits: { ...options.limits }, ceilings: { ...ceilings } as Record<string, number>, details }, 200)
  })
  app.openapi(status, async (context) => {
    const all = await options.status()
    const seen = context.get('token').tenant === '*' ? all : { dataPort: all.dataPort }
    return context.json({ ...seen, ready: options.ready() }, 200)
  })
  app.openapi(healthz, (context) => context.text('ok\n', 200))
  app.openapi(readyz, (context) => (options.ready() ? context.text('ready\n', 200) : context.text('not ready\n', 503)))
  app.openapi(metrics, async (context) => context.text(await options.metrics(), 200))
}
