/** One contract for every place where a sandbox can be: in this process (which needs `--no-node-snapshot`), and in a cell. */
import assert from 'node:assert/strict'
import { after, before, suite } from 'node:test'
import { CellFactory } from '../host/cell.ts'
import { ConductBook } from '../host/conduct-book.ts'
import { configSchema } from '../host/config.ts'
import { silentLog } from '../host/log.ts'
import { PlacedFactory } from '../host/placed-factory.ts'
import { createInlineFactory } from '../sandbox/inline.ts'
import type { SandboxFactory, Taint } from '../sandbox/sandbox.ts'
import { eventCases } from './sandbox/events.ts'
import { lifeCases } from './sandbox/life.ts'
import { limitCases } from './sandbox/limits.ts'
import { memoryCases } from './sandbox/memory.ts'
import { outboundCases } from './sandbox/outbound.ts'
import { scopeCases } from './sandbox/scope.ts'

const egress = { allow: ['127.0.0.1'], deny: [] }
/** No code of this suite may make its process one that is to be replaced. */
const taints: Taint[] = []
const factories: Record<string, () => Promise<SandboxFactory>> = {
  inline: () => createInlineFactory({ egress, tainted: (taint) => taints.push(taint) }),
  placed: async () =>
    new PlacedFactory({
      ...{ placement: 'adaptive', egress, log: silentLog(), conduct: new ConductBook(configSchema.parse({})) },
      inline: await createInlineFactory({ egress, tainted: (taint) => taints.push(taint) }),
    }),
  cell: async () => new CellFactory({ egress, log: silentLog() }),
}

for (const [placement, create] of Object.entries(factories)) {
  suite(`a sandbox, ${placement}`, { timeout: 120_000 }, () => {
    let factory: SandboxFactory
    before(async () => {
      factory = await create()
    })
    after(async () => {
      await factory.close()
      assert.deepEqual(taints, [])
    })
    lifeCases(() => factory)
    eventCases(() => factory)
    scopeCases(() => factory)
    outboundCases(() => factory)
    limitCases(() => factory)
    memoryCases(() => factory)
  })
}
