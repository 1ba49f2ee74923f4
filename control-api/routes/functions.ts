import { createRoute } from '@hono/zod-openapi'
import type { Context } from 'hono'
import type { FunctionRecord } from '../../host/records.ts'
import type { ApiApp, ApiOptions } from '../app.ts'
import * as schemas from '../schemas.ts'
import { page } from './_page.ts'

const list = createRoute({
  method: 'get',
  path: '/v1/functions',
  tags: ['functions'],
  summary: 'The functions of a tenant, by name',
  request: { query: schemas.pageQuery },
  responses: { 200: schemas.json(schemas.pageOf(schemas.fn), 'A page'), ...schemas.failures },
})

const show = createRoute({
  method: 'get',
  path: '/v1/functions/{name}',
  tags: ['functions'],
  summary: 'One function; the ETag is for a deployment’s If-Match',
  request: { params: schemas.functionParams, query: schemas.tenantQuery },
  responses: { 200: schemas.json(schemas.fn, 'The function'), ...schemas.failures },
})

const remove = createRoute({
  method: 'delete',
  path: '/v1/functions/{name}',
  tags: ['functions'],
  summary: 'Deletes a function, its versions and its routes',
  request: { params: schemas.functionParams, query: schemas.tenantQuery },
  responses: { 204: { description: 'Deleted' }, ...schemas.failures },
})

export function addFunctionRoutes(app: ApiApp, { registry }: Pick<ApiOptions, 'registry'>): void {
  app.openapi(list, async (context) => {
    const { items, cursor } = await registry.functions(context.get('tenant'), context.req.valid('query'))
    return context.json(page(items.map(toFunction), cursor), 200)
  })
  app.openapi(show, async (context) => {
    const record = await registry.function(context.get('tenant'), context.req.valid('param').name)
    return setEtag(context, record).json(toFunction(record), 200)
  })
  app.openapi(remove, async (context) => {
    await registry.deleteFunction(context.get('tenant'), context.req.valid('param').name)
    return context.body(null, 204)
  })
}

/** Without the history, which has an endpoint of its own. */
export function toFunction({ name, tenant, createdAt, deployment }: FunctionRecord) {
  return { name, tenant, createdAt, deployment }
}

/** A function's ETag is the id of its deployment; 0 before the first. */
export function setEtag<C extends Context>(context: C, record: FunctionRecord): C {
  context.header('etag', `"${record.deployment?.id ?? 0}"`)
  return context
}
