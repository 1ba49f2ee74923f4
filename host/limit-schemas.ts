import { z } from 'zod'
import { DEFAULT_CEILINGS, DEFAULT_LIMITS, LIMIT_NAMES, LIMITS, pick, VERSION_LIMIT_NAMES } from '../sandbox/limits.ts'
import type { LimitName, LimitRule, Limits, VersionLimitName } from '../sandbox/limits.ts'
import { SkepError } from './errors.ts'

/** What the table of limits means at each door: configuration, version, deploy. */

export type Ceilings = Record<VersionLimitName, number>
export type VersionLimits = { [K in VersionLimitName]?: number | undefined }

/** A number within the limit's range; whatever else is refused with the range. */
export function limitSchema(name: LimitName): z.ZodNumber {
  const { min, max, whole, unit }: LimitRule = LIMITS[name]
  const error = `must be a ${whole ? 'whole ' : ''}number from ${min} to ${max}${unit === '' ? '' : ` (${unit})`}`
  return (whole ? z.int({ error }) : z.number({ error })).min(min, { error }).max(max, { error })
}

export const limitsSchema = z.strictObject(pick(LIMIT_NAMES, (name) => limitSchema(name).default(DEFAULT_LIMITS[name])))
export const ceilingsSchema = z.strictObject(
  pick(VERSION_LIMIT_NAMES, (name) => limitSchema(name).default(DEFAULT_CEILINGS[name])),
)
/** What a version sets itself, and what an operator sets for one tenant. */
export const versionLimitsSchema = z.strictObject(pick(VERSION_LIMIT_NAMES, (name) => limitSchema(name).optional()))

/** Throws `invalid_request` for a version that asks for more than it may. */
export function checkCeilings(asked: VersionLimits, ceilings: VersionLimits): void {
  for (const limit of VERSION_LIMIT_NAMES) {
    const [value, allowed] = [asked[limit], ceilings[limit]]
    if (value === undefined || allowed === undefined || value <= allowed) continue
    const { unit }: LimitRule = LIMITS[limit]
    const most = unit === '' ? allowed : `${allowed} ${unit}`
    throw new SkepError('invalid_request', `limits.${limit} may be ${most} at most here, not ${value}.`, {
      details: { limit, allowed },
    })
  }
}

/** What holds for a version: the host's limits and its own. Ceilings may have been lowered since it was deployed. */
export function limitsOf(host: Limits, own: VersionLimits, ceilings: VersionLimits): Limits {
  const limits = { ...host }
  for (const limit of VERSION_LIMIT_NAMES) {
    const asked = own[limit]
    if (asked !== undefined) limits[limit] = Math.min(asked, ceilings[limit] ?? Infinity)
  }
  return limits
}
