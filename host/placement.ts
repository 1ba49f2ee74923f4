import type { SandboxSpec } from '../sandbox/sandbox.ts'
import type { ConductState } from './conduct.ts'

/**
 * Where a function version runs: data in, data out.
 *
 *     inline     in this process, beside the listener: the shortest way
 *     probation  new versions, together, until they have shown how they behave
 *     cell       those with large limits or of other cordons, together
 *     heavy      those whose events cost much, together, at a lower priority of the operating system
 *     solo       one version alone: suspects, and who is told to
 */
export type CellKind = 'probation' | 'cell' | 'heavy' | 'solo' | 'suspects'

export type Place = { kind: 'inline' } | { kind: CellKind; group: string }

/** From the laxest to the strictest. */
export const PLACEMENTS = ['inline', 'adaptive', 'cell', 'solo'] as const
export type Placement = (typeof PLACEMENTS)[number]

export interface PlacementRules {
  /** The stricter one of the host's and the tenant's. */
  placement: Placement
  /** This process may hold isolates itself. */
  inline: boolean
}

/** What is known of a version. */
export interface Standing {
  state: ConductState
  /** Its events cost much CPU time. */
  costly: boolean
}

/** A function that may use more than this has a share of a worker that others would feel. */
const INLINE_CPU_MS = 100
const INLINE_MEMORY_MB = 128

/** The only cordon that may share a process with a listener. */
const OPEN_CORDON = 'default'

export function choose(
  { name, version, cordon, limits }: Pick<SandboxSpec, 'name' | 'version' | 'cordon' | 'limits'>,
  { state, costly }: Standing,
  { placement, inline }: PlacementRules,
): Place {
  const inCell = (kind: CellKind): Place => ({ kind, group: `${kind}/${cordon}` })
  const alone: Place = { kind: 'solo', group: `solo/${name}@${version}` }
  if (state !== 'trusted' && state !== 'probation') return alone
  if (placement === 'solo') return alone
  const mayInline = inline && cordon === OPEN_CORDON
  if (placement === 'inline') return mayInline ? { kind: 'inline' } : inCell('cell')
  if (placement === 'cell') return inCell('cell')
  if (state === 'probation') return inCell('probation')
  if (costly) return inCell('heavy')
  const isSmall = limits.cpuMs <= INLINE_CPU_MS && limits.memoryMb <= INLINE_MEMORY_MB
  return mayInline && isSmall ? { kind: 'inline' } : inCell('cell')
}

/** A tenant or a function may ask for a stricter placement than the host's, and not for a laxer one. */
export function stricter(one: Placement, other: Placement | undefined): Placement {
  return other !== undefined && PLACEMENTS.indexOf(other) > PLACEMENTS.indexOf(one) ? other : one
}

/** The same place: what is loaded there need not move. */
export function isSamePlace(one: Place, other: Place): boolean {
  return groupOf(one) === groupOf(other)
}

export function groupOf(place: Place): string {
  return place.kind === 'inline' ? 'inline' : place.group
}
