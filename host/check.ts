import { decodeBundle } from '../bundler/artifact.ts'
import { ceilingsOf, tenantSettings } from './config.ts'
import type { Config } from './config.ts'
import { limitsOf } from './limit-schemas.ts'
import type { SandboxFactory, StartReport } from '../sandbox/sandbox.ts'
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
  const sandbox = factory.create(
    { name, version: '', tenant, cordon, egress, bundle: decodeBundle(bytes), env: settings.vars, limits },
    { emit: () => {}, settled: () => {}, ended: () => {} },
  )
  try {
    return await sandbox.ready
  } finally {
    sandbox.dispose()
  }
}
