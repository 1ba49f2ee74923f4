import { createRoute } from '@hono/zod-openapi'
import { SkepError } from '../../host/errors.ts'
import type { ApiApp } from '../app.ts'
import * as schemas from '../schemas.ts'
import type { Tokens } from '../tokens.ts'
import { visiblePage } from './_page.ts'

const create = createRoute({
  method: 'post',
  path: '/v1/tokens',
  tags: ['tokens'],
  summary: 'A new token; its text is answered once',
  request: {
    query: schemas.tenantQuery,
    body: { required: true, ...schemas.json(schemas.tokenBody, 'What it is for') },
  },
  responses: { 201: schemas.json(schemas.newToken, 'The token with its text'), ...schemas.failures },
})

const list = createRoute({
  method: 'get',
  path: '/v1/tokens',
  tags: ['tokens'],
  summary: 'The tokens of a tenant, or, for an operator who names none, all',
  request: { query: schemas.pageQuery },
  responses: { 200: schemas.json(schemas.pageOf(schemas.token), 'A page'), ...schemas.failures },
})

const revoke = createRoute({
  method: 'delete',
  path: '/v1/tokens/{id}',
  tags: ['tokens'],
  summary: 'Revokes a token: at once on this host, within 2 s on others',
  request: { params: schemas.tokenParams, query: schemas.tenantQuery },
  responses: { 204: { description: 'Revoked' }, ...schemas.failures },
})

export function addTokenRoutes(app: ApiApp, tokens: Tokens): void {
  app.openapi(create, async (context) => {
    const { name, role, tenant = context.get('tenant') } = context.req.valid('json')
    const own = context.get('token').tenant
    if (own !== '*' && tenant !== own) throw new SkepError('forbidden', `This token may only create tokens of the tenant ${own}.`)
    const { text, record } = await tokens.create({ name, role, tenant })
    return context.json({ ...record, token: text }, 201)
  })
  app.openapi(list, async (context) => {
    const { cursor, limit } = context.req.valid('query')
    const visible = (token: { tenant: string }) => context.get('everyTenant') || token.tenant === context.get('tenant')
    return context.json(await visiblePage(tokens.list(), { visible, key: (token) => token.id, cursor, limit }), 200)
  })
  app.openapi(revoke, async (context) => {
    await tokens.revoke(context.req.valid('param').id, context.get('everyTenant') ? undefined : context.get('tenant'))
    return context.body(null, 204)
  })
}
