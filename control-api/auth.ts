import type { Context, MiddlewareHandler } from 'hono'
import { SkepError } from '../host/errors.ts'
import { checkName } from '../host/records.ts'
import type { TokenRecord } from '../host/records.ts'
import type { ApiEnv } from './app.ts'
import type { Tokens } from './tokens.ts'

/** The tenant of an operator's request that names none. */
const DEFAULT_TENANT = 'default'
const RANK = { read: 0, deploy: 1, admin: 2 } as const

/** Finds out whose token a request carries, whether its role suffices and which tenant it is about. */
export function authenticate(tokens: Tokens): MiddlewareHandler<ApiEnv> {
  return async (context, next) => {
    const text = /^Bearer +(\S+)$/i.exec(context.req.header('authorization') ?? '')?.[1]
    const token = text === undefined ? undefined : await tokens.find(text)
    if (token === undefined) {
      const hint = 'Create one with `skep token create`, or read <data>/admin-token on the host.'
      const what = text === undefined ? 'This needs a token: Authorization: Bearer skep_…' : 'This token is unknown or revoked.'
      throw new SkepError('unauthorized', `${what} ${hint}`)
    }
    const needed = roleFor(context.req.method, context.req.path)
    if (RANK[token.role] < RANK[needed]) {
      throw new SkepError('forbidden', `This needs a token with the role ${needed}; this one has ${token.role}.`)
    }
    const chosen = context.req.header('skep-tenant') ?? context.req.query('tenant')
    context.set('token', token)
    context.set('tenant', tenantOf(token, chosen))
    context.set('everyTenant', token.tenant === '*' && chosen === undefined)
    await next()
  }
}

/** Tokens are for admins, writing for deployers; what is only read is for everybody. A new endpoint begins strict. */
function roleFor(method: string, path: string): TokenRecord['role'] {
  if (path === '/v1/tokens' || path.startsWith('/v1/tokens/')) return 'admin'
  return method === 'GET' || method === 'HEAD' ? 'read' : 'deploy'
}

function tenantOf(token: TokenRecord, chosen: string | undefined): string {
  if (token.tenant === '*') return checkName('tenant', chosen ?? DEFAULT_TENANT)
  if (chosen === undefined || chosen === token.tenant) return token.tenant
  throw new SkepError('forbidden', `This token is for the tenant ${token.tenant}. Another tenant takes a token of its own.`)
}

/** What is written beside a change: who did it. */
export function actor(context: Context<ApiEnv>): string {
  return context.get('token').name
}
