import { availableParallelism } from 'node:os'
import { createRoute } from '@hono/zod-openapi'
import { WINDOW_SECONDS } from '../../host/usage.ts'
import type { ApiApp, ApiOptions } from '../app.ts'
import * as schemas from '../schemas.ts'

const usage = createRoute({
  method: 'get',
  path: '/v1/usage',
  tags: ['host'],
  summary: 'Who is using this machine: functions that did something of late, the busiest first; a tenant sees its own',
  request: { query: schemas.tenantQuery },
  responses: { 200: schemas.json(schemas.usage, 'Usage'), ...schemas.failures },
})

export function addUsageRoute(app: ApiApp, options: ApiOptions): void {
  app.openapi(usage, async (context) => {
    const tenant = context.get('everyTenant') ? undefined : context.get('tenant')
    const cores = availableParallelism()
    const lines = await options.usage(tenant)
    const items = lines.map((line) => ({ ...line, share: line.cpuMsPerSecond / 1000 / cores }))
    return context.json({ windowSeconds: WINDOW_SECONDS, cores, items }, 200)
  })
}
