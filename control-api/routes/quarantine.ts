import { createRoute, z } from '@hono/zod-openapi'
import type { ConductRecord } from '../../host/conduct.ts'
import { SkepError } from '../../host/errors.ts'
import type { ApiApp, ApiOptions } from '../app.ts'
import * as schemas from '../schemas.ts'

const list = createRoute({
  method: 'get',
  path: '/v1/quarantine',
  tags: ['host'],
  summary: 'Functions that are not run, or kept alone, for what they did; an operator who names no tenant sees all',
  request: { query: schemas.tenantQuery },
  responses: { 200: schemas.json(z.object({ items: z.array(schemas.quarantine) }), 'What, and until when'), ...schemas.failures },
})

const release = createRoute({
  method: 'delete',
  path: '/v1/quarantine/{name}',
  tags: ['host'],
  summary: 'Lets a function be tried again at once; for operators',
  request: { params: schemas.functionParams, query: schemas.tenantQuery },
  responses: { 204: { description: 'Its next event is a try' }, ...schemas.failures },
})

export function addQuarantineRoutes(app: ApiApp, { conduct }: Pick<ApiOptions, 'conduct'>): void {
  app.openapi(list, (context) => {
    const prefix = context.get('everyTenant') ? '' : `${context.get('tenant')}/`
    const mine = conduct.records().filter((record) => record.name.startsWith(prefix))
    return context.json({ items: mine.filter(isWatched).map(toQuarantine) }, 200)
  })
  app.openapi(release, (context) => {
    if (context.get('token').tenant !== '*')
      throw new SkepError('forbidden', 'Only an operator may end a quarantine. A new version of the function is tried at once.')
    const name = `${context.get('tenant')}/${context.req.valid('param').name}`
    if (!conduct.release(name)) throw new SkepError('not_found', `${name} is not in quarantine.`)
    return context.body(null, 204)
  })
}

/** The states of those that are kept from others. */
type Watched = ConductRecord & { state: 'suspected' | 'quarantined' | 'half_open' }

function isWatched(record: ConductRecord): record is Watched {
  return record.version !== '' && record.state !== 'trusted' && record.state !== 'probation'
}

function toQuarantine(record: Watched) {
  const { version, state, level, counts } = record
  const [tenant, fn] = record.name.split('/') as [string, string]
  const offences = record.offences.map(({ kind, at, message }) => ({ kind, at: dateOf(at), message }))
  return {
    ...{ function: fn, tenant, version, state, since: dateOf(record.since), message: messageOf(record), level, offences, counts },
    ...(state === 'quarantined' ? { until: dateOf(record.until) } : {}),
  }
}

/** What it did, and when it may come back. */
function messageOf({ state, offences, until }: Watched): string {
  const last = offences.at(-1)
  const did = last === undefined ? 'An earlier version is in quarantine' : `${last.kind}: ${last.message}`
  if (state === 'suspected') return `${did}. It runs, in a process of its own, until enough events have ended well.`
  if (state === 'half_open') return `${did}. It is being tried with one event; others have to wait for how that goes.`
  return `${did}. It is tried again with the first event from ${dateOf(until)} on.`
}

function dateOf(ms: number): string {
  return new Date(ms).toISOString()
}
