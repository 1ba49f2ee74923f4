import type { DeploymentRecord, RouteRecord, VersionRecord } from '../../host/records.ts'
import type { UsageLine } from '../../host/usage.ts'

/** What commands get from the API, and how they show it. */

export interface Fn {
  name: string
  tenant: string
  createdAt: string
  deployment: DeploymentRecord | null
}
export type Version = VersionRecord
export type Route = RouteRecord & { hostname: string }
export interface Quarantine {
  function: string
  tenant: string
  version: string
  state: 'suspected' | 'quarantined' | 'half_open'
  until?: string
  message: string
}
export interface Status {
  ready: boolean
  dataPort: number
}

export interface Usage {
  windowSeconds: number
  cores: number
  items: (UsageLine & { share: number })[]
}

/** `0123456789abcdef 90%, fedcba9876543210 10%`; without a share where there is one version. */
export function shares({ versions }: Pick<DeploymentRecord, 'versions'>): string {
  const [only] = versions
  if (versions.length === 1) return only!.id
  return versions.map(({ id, percent }) => `${id} ${Math.round(percent * 100) / 100}%`).join(', ')
}

export function hostsByFunction(routes: Route[]): Map<string, string[]> {
  const hosts = new Map<string, string[]>()
  for (const route of routes) hosts.set(route.function, [...(hosts.get(route.function) ?? []), route.hostname])
  return hosts
}

/** Where a browser on the host's machine finds a function. */
export function urlOf(hostname: string, dataPort: number): string {
  return `http://${hostname}${dataPort === 80 ? '' : `:${dataPort}`}/`
}
