import { createRoute, z } from '@hono/zod-openapi'
import { SkepError } from '../../host/errors.ts'
import type { ApiApp, ApiOptions } from '../app.ts'
import { JSON_BYTES, limitBody } from '../limited-body.ts'
import * as schemas from '../schemas.ts'

/** Present on answers that come from a function, whatever their status; `skep` tells by it whose error it shows. */
export const ANSWERED_BY = 'skep-function'
/** Headers that belong to a connection: the function's answer travels over another one. */
const HOP_BY_HOP = ['connection', 'keep-alive', 'transfer-encoding', 'upgrade', 'trailer', 'te', 'content-length']

const query = schemas.tenantQuery.extend({
  version: z.string().optional().openapi({ description: 'Default: what is deployed.' }),
  path: z.string().startsWith('/').default('/').openapi({ description: 'For a raw body only.' }),
  method: z.string().default('POST').openapi({ description: 'For a raw body only.' }),
})

const invoke = createRoute({
  method: 'post',
  path: '/v1/functions/{name}/invoke',
  tags: ['functions'],
  summary: 'Sends one request through a function and answers what it answers',
  description:
    'A body of type application/json describes the request; a body of any other type is the request’s own, streamed. ' +
    'The header `skep-function` tells an answer of the function from a problem of the API.',
  request: { params: schemas.functionParams, query },
  requestBody: schemas.unparsed({ 'application/json': schemas.invokeBody, '*/*': z.string().meta({ format: 'binary' }) }),
  responses: { 200: { description: 'What the function answers, with its own status and headers' }, ...schemas.failures },
})

export function addInvokeRoute(app: ApiApp, options: ApiOptions): void {
  app.openapi(invoke, async (context) => {
    const tenant = context.get('tenant')
    const { name } = context.req.valid('param')
    const { version, path, method } = context.req.valid('query')
    const record = await options.registry.function(tenant, name)
    if (version !== undefined) await options.registry.version(tenant, name, version)
    else if (record.deployment === null)
      throw new SkepError('not_found', `${tenant}/${name} has no deployment. Deploy a version first.`)

    const type = context.req.header('content-type') ?? ''
    const described = /^application\/json\b/i.test(type)
    const max = described ? JSON_BYTES : options.limits.bodyBytes
    const body = limitBody(context.req.raw, max, 'body_too_large')
    try {
      const request = described
        ? toRequest(name, parseInvocation(await new Response(body.stream).text()))
        : toRequest(name, { path, method, headers: type === '' ? {} : { 'content-type': type }, data: body.stream ?? undefined })
      return answer(await options.invoke(tenant, name, request, version), `${tenant}/${name}`)
    } catch (error) {
      throw body.failure ?? error
    }
  })
}

interface Invocation {
  path: string
  method: string
  headers: Record<string, string>
  data?: string | ReadableStream<Uint8Array> | undefined
}

function parseInvocation(text: string): Invocation {
  let value: unknown
  try {
    value = JSON.parse(text === '' ? '{}' : text)
  } catch (cause) {
    throw new SkepError('invalid_request', 'The body is no JSON.', { cause })
  }
  const result = schemas.invokeBody.safeParse(value)
  if (result.success) return result.data
  throw new SkepError(
    'invalid_request',
    result.error.issues.map(({ path, message }) => `body.${path.join('.')}: ${message}`).join('; '),
  )
}

function toRequest(name: string, { path, method, headers, data }: Invocation): Request {
  const bodyless = data === undefined || ((method === 'GET' || method === 'HEAD') && typeof data !== 'string')
  try {
    return new Request(`http://${name}.localhost${path}`, {
      method,
      headers,
      ...(bodyless ? {} : { body: data, duplex: 'half' }),
    })
  } catch (cause) {
    throw new SkepError('invalid_request', `This is no request that could be made: ${(cause as Error).message}`, { cause })
  }
}

function answer(response: Response, by: string): Response {
  const headers = new Headers(response.headers)
  for (const name of HOP_BY_HOP) headers.delete(name)
  headers.set(ANSWERED_BY, by)
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers })
}
