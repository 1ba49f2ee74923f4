import { createRoute, z } from '@hono/zod-openapi'
import type { ApiApp, ApiOptions } from '../app.ts'
import * as schemas from '../schemas.ts'

const limits = createRoute({
  method: 'get',
  path: '/v1/limits',
  tags: ['host'],
  summary: 'The limits of a version that asks for no others, and the most it may ask for',
  request: { query: schemas.tenantQuery },
  responses: {
    200: schemas.json(
      z.object({ limits: z.record(z.string(), z.number()), ceilings: z.record(z.string(), z.number()) }),
      'Limits',
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
  app.openapi(limits, (context) => context.json({ limits: { ...options.limits }, ceilings: { ...options.ceilings } }, 200))
  app.openapi(status, async (context) => {
    const all = await options.status()
    const seen = context.get('token').tenant === '*' ? all : { dataPort: all.dataPort }
    return context.json({ ...seen, ready: options.ready() }, 200)
  })
  app.openapi(healthz, (context) => context.text('ok\n', 200))
  app.openapi(readyz, (context) => (options.ready() ? context.text('ready\n', 200) : context.text('not ready\n', 503)))
  app.openapi(metrics, async (context) => context.text(await options.metrics(), 200))
}
