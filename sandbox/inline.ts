import { availableParallelism } from 'node:os'
import { SkepError } from '../host/errors.ts'
import { EnforcedLimits } from './enforced-limits.ts'
import { Engine } from './engine.ts'
import { IsolateSandbox } from './isolate.ts'
import { Lanes } from './lanes.ts'
import type { Limits } from './limits.ts'
import { Network } from './operations/network.ts'
import type { Egress } from './operations/egress.ts'
import { loadPrelude } from './prelude.ts'
import { Stretch } from './stretch.ts'
import type { Sandbox, SandboxFactory, Taint } from './sandbox.ts'

/** Sandboxes with their isolates in this process. Needs `node --no-node-snapshot`; throws `missing_flag` without it. */
export async function createInlineFactory(options: {
  egress: Egress
  tainted: (taint: Taint) => void
  /** Cores that the isolates of this process may fill; default: all. */
  cores?: number
}): Promise<SandboxFactory> {
  const flags = [...process.execArgv, ...(process.env.NODE_OPTIONS ?? '').split(/\s+/)]
  if (!flags.includes('--no-node-snapshot')) {
    const script = process.argv[1] ?? 'your-script.js'
    throw new SkepError(
      'missing_flag',
      `placement 'inline' needs Node's flag --no-node-snapshot. Start it with: node --no-node-snapshot ${script}  ` +
        `or leave placement at 'cell', which needs no flag.`,
    )
  }
  const stretch = new Stretch()
  const context = {
    engine: new Engine(await loadPrelude()),
    network: new Network(options.egress),
    lanes: new Lanes(options.cores ?? availableParallelism()),
    tainted: options.tainted,
    createLimits: (limits: Limits) => new EnforcedLimits(limits, stretch),
    live: new Set<Sandbox>(),
  }
  return {
    placement: 'inline',
    create: (spec, observer) => new IsolateSandbox(context, spec, observer),
    async close() {
      for (const sandbox of context.live) sandbox.dispose()
    },
  }
}
