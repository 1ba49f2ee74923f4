import { createRoute, z } from '@hono/zod-openapi'
import { checkCeilings } from '../../host/limit-schemas.ts'
import { checkName } from '../../host/records.ts'
import type { ApiApp, ApiOptions } from '../app.ts'
import { actor } from '../auth.ts'
import * as schemas from '../schemas.ts'
import { readUpload } from '../upload.ts'
import { page } from './_page.ts'

const uploaded = z.object({ version: schemas.version })
const upload = createRoute({
  method: 'post',
  path: '/v1/functions/{name}/versions',
  tags: ['versions'],
  summary: 'Uploads a version; it is checked by loading it in a sandbox, and does not answer before it is deployed',
  description:
    'multipart/form-data with two parts: `metadata` (JSON) and `bundle` (a file in skep’s bundle format: code, binary modules and ' +
    'source map in one). The same content and settings are the same version.',
  request: {
    params: schemas.functionParams,
    query: schemas.tenantQuery,
  },
  // Described without a schema that would parse it: the parts are read by hand, so that the limit holds while they stream in.
  requestBody: schemas.unparsed({
    'multipart/form-data': z.object({ metadata: schemas.uploadMetadata, bundle: z.string().meta({ format: 'binary' }) }),
  }),
  responses: {
    200: schemas.json(uploaded, 'The version was there already'),
    201: schemas.json(uploaded, 'The new version'),
    ...schemas.failures,
  },
})

const list = createRoute({
  method: 'get',
  path: '/v1/functions/{name}/versions',
  tags: ['versions'],
  summary: 'The versions of a function, by id',
  request: { params: schemas.functionParams, query: schemas.pageQuery },
  responses: { 200: schemas.json(schemas.pageOf(schemas.version), 'A page'), ...schemas.failures },
})

const show = createRoute({
  method: 'get',
  path: '/v1/functions/{name}/versions/{id}',
  tags: ['versions'],
  summary: 'One version',
  request: { params: schemas.versionParams, query: schemas.tenantQuery },
  responses: { 200: schemas.json(schemas.version, 'The version'), ...schemas.failures },
})

export function addVersionRoutes(app: ApiApp, options: ApiOptions): void {
  const { registry } = options
  app.openapi(upload, async (context) => {
    const tenant = context.get('tenant')
    const name = checkName('function', context.req.valid('param').name)
    const { bytes, settings } = await readUpload(context.req.raw, options.limits.bundleBytes)
    checkCeilings(settings.limits, options.ceilings?.(tenant) ?? {})
    const began = new Date().toISOString()
    const report = await options.check(bytes, settings, { tenant, function: name })
    const version = await registry.addVersion(tenant, name, { bytes, settings, report, by: actor(context) })
    return context.json({ version }, version.createdAt < began ? 200 : 201)
  })
  app.openapi(list, async (context) => {
    const { name } = context.req.valid('param')
    const { items, cursor } = await registry.versions(context.get('tenant'), name, context.req.valid('query'))
    return context.json(page(items, cursor), 200)
  })
  app.openapi(show, async (context) => {
    const { name, id } = context.req.valid('param')
    return context.json(await registry.version(context.get('tenant'), name, id), 200)
  })
}
