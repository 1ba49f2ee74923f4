import { decodeBundle } from '../bundler/artifact.ts'
import type { Limits } from '../sandbox/limits.ts'
import type { SandboxFactory, StartReport } from '../sandbox/sandbox.ts'
import type { VersionSettings } from './records.ts'

/** Loads a bundle once, in a sandbox of its own, before it becomes a version. Rejects with `start_failed` or `bundle_rejected`. */
export async function checkBundle(
  factory: SandboxFactory,
  bytes: Uint8Array,
  settings: VersionSettings,
  context: { name: string; limits: Limits },
): Promise<StartReport> {
  const limits: Limits = Object.assign({ ...context.limits }, settings.limits)
  const sandbox = factory.create(
    { name: context.name, bundle: decodeBundle(bytes), env: settings.vars, limits },
    { emit: () => {}, settled: () => {}, ended: () => {} },
  )
  try {
    return await sandbox.ready
  } finally {
    sandbox.dispose()
  }
}
