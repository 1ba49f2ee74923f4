import { decodeBundle } from '../bundler/artifact.ts'
import { ceilingsOf, tenantSettings } from './config.ts'
import type { Config } from './config.ts'
import { SkepError } from './errors.ts'
import { limitsOf } from './limit-schemas.ts'
import type { SandboxFactory, SandboxSpec, StartReport } from '../sandbox/sandbox.ts'
import type { VersionSettings } from './records.ts'

/** Loads a bundle once, in a sandbox of its own, before it becomes a version. Rejects with `start_failed` or `bundle_rejected`. */
export async function checkBundle(
  factory: SandboxFactory,
  bytes: Uint8Array,
  settings: VersionSettings,
  context: { tenant: string; function: string; config: Pick<Config, 'limits' | 'ceilings' | 'tenants'> },
): Promise<StartReport> {
  const { tenant, config } = context
  const limits = limitsOf(config.limits, settings.limits, ceilingsOf(config, tenant))
  const { cordon, egress } = tenantSettings(config, tenant)
  const name = `${tenant}/${context.function}`
  const spec: SandboxSpec = {
    ...{ name, version: '', tenant, cordon, egress, loopId: 'skep' },
    ...{ bundle: decodeBundle(bytes), env: settings.vars, limits },
  }
  try {
    return await load(factory, spec)
  } catch (error) {
    // Another upload may have ended the process that this one was checked in. It is suspected, too, and now checked alone.
    if (error instanceof SkepError && error.code === 'worker_lost') return load(factory, spec)
    throw error
  }
}

async function load(factory: SandboxFactory, spec: SandboxSpec): Promise<StartReport> {
  const sandbox = factory.create(spec, { emit: () => {}, settled: () => {}, ended: () => {} })
  try {
    return await sandbox.ready
  } finally {
    sandbox.dispose()
  }
}
