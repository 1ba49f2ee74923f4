import { createRoute } from '@hono/zod-openapi'
import { SkepError } from '../../host/errors.ts'
import type { ApiApp, ApiOptions } from '../app.ts'
import { actor } from '../auth.ts'
import * as schemas from '../schemas.ts'
import { setEtag, toFunction } from './functions.ts'

const deploy = createRoute({
  method: 'put',
  path: '/v1/functions/{name}/deployment',
  tags: ['deployments'],
  summary: 'Makes these versions the ones that answer; the percentages add up to 100',
  description: 'With `If-Match`, only over the deployment with that ETag; `"0"`: only over none.',
  request: {
    params: schemas.functionParams,
    query: schemas.tenantQuery,
    body: { required: true, ...schemas.json(schemas.deploymentBody, 'The versions and their shares') },
  },
  responses: { 200: schemas.json(schemas.fn, 'The function'), ...schemas.failures },
})

const rollback = createRoute({
  method: 'post',
  path: '/v1/functions/{name}/rollback',
  tags: ['deployments'],
  summary: 'Back to what answered before, or to the given version',
  request: {
    params: schemas.functionParams,
    query: schemas.tenantQuery,
    body: { required: true, ...schemas.json(schemas.rollbackBody, 'Where to') },
  },
  responses: { 200: schemas.json(schemas.fn, 'The function'), ...schemas.failures },
})

const history = createRoute({
  method: 'get',
  path: '/v1/functions/{name}/deployments',
  tags: ['deployments'],
  summary: 'What answered so far, newest first, at most 101',
  request: { params: schemas.functionParams, query: schemas.tenantQuery },
  responses: { 200: schemas.json(schemas.pageOf(schemas.deployment), 'All of them'), ...schemas.failures },
})

export function addDeploymentRoutes(app: ApiApp, { registry }: Pick<ApiOptions, 'registry'>): void {
  app.openapi(deploy, async (context) => {
    const { name } = context.req.valid('param')
    const { versions } = context.req.valid('json')
    const ifDeployment = deploymentOf(context.req.header('if-match'))
    const condition = ifDeployment === undefined ? {} : { ifDeployment }
    const record = await registry.deploy(context.get('tenant'), name, { versions, by: actor(context), ...condition })
    return setEtag(context, record).json(toFunction(record), 200)
  })
  app.openapi(rollback, async (context) => {
    const { name } = context.req.valid('param')
    const { version } = context.req.valid('json')
    const to = version === undefined ? {} : { version }
    const record = await registry.rollback(context.get('tenant'), name, { ...to, by: actor(context) })
    return setEtag(context, record).json(toFunction(record), 200)
  })
  app.openapi(history, async (context) => {
    const record = await registry.function(context.get('tenant'), context.req.valid('param').name)
    const items = record.deployment === null ? [] : [record.deployment, ...record.history]
    return setEtag(context, record).json({ items }, 200)
  })
}

/** The deployment that `If-Match` names; undefined for none and for `*`. */
function deploymentOf(header: string | undefined): number | undefined {
  if (header === undefined || header.trim() === '*') return undefined
  const id = /^\s*"(\d{1,15})"\s*$/.exec(header)?.[1]
  if (id === undefined)
    throw new SkepError('invalid_request', 'If-Match takes the ETag of the function as it was sent, such as "3".')
  return Number(id)
}
