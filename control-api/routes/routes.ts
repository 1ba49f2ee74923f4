import { createRoute } from '@hono/zod-openapi'
import { pages } from '../../host/registry.ts'
import type { ApiApp, ApiOptions } from '../app.ts'
import * as schemas from '../schemas.ts'
import { visiblePage } from './_page.ts'

const list = createRoute({
  method: 'get',
  path: '/v1/routes',
  tags: ['routes'],
  summary: 'The hostnames of a tenant',
  request: { query: schemas.pageQuery },
  responses: { 200: schemas.json(schemas.pageOf(schemas.route), 'A page'), ...schemas.failures },
})

const add = createRoute({
  method: 'put',
  path: '/v1/routes/{hostname}',
  tags: ['routes'],
  summary: 'Routes a hostname, or every name below `*.example.com`, to a function',
  request: {
    params: schemas.routeParams,
    query: schemas.tenantQuery,
    body: { required: true, ...schemas.json(schemas.routeBody, 'Where to') },
  },
  responses: { 200: schemas.json(schemas.route, 'The route'), ...schemas.failures },
})

const remove = createRoute({
  method: 'delete',
  path: '/v1/routes/{hostname}',
  tags: ['routes'],
  summary: 'Takes a hostname off',
  request: { params: schemas.routeParams, query: schemas.tenantQuery },
  responses: { 204: { description: 'Removed' }, ...schemas.failures },
})

export function addRouteRoutes(app: ApiApp, { registry }: Pick<ApiOptions, 'registry'>): void {
  app.openapi(list, async (context) => {
    const { cursor, limit } = context.req.valid('query')
    const tenant = context.get('tenant')
    const all = pages((from) => registry.routes(from))
    const visible = (route: { tenant: string }) => route.tenant === tenant
    return context.json(await visiblePage(all, { visible, key: (route) => route.hostname, cursor, limit }), 200)
  })
  app.openapi(add, async (context) => {
    const { function: fn } = context.req.valid('json')
    return context.json(await registry.addRoute(context.req.valid('param').hostname, context.get('tenant'), fn), 200)
  })
  app.openapi(remove, async (context) => {
    await registry.removeRoute(context.req.valid('param').hostname, context.get('tenant'))
    return context.body(null, 204)
  })
}
