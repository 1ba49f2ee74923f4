import assert from 'node:assert/strict'
import type { Failure } from './load.ts'
import type { Setting, Stage } from './stage.ts'

export interface Scenario {
  name: string
  /** Where it makes sense; everywhere, when it does not say. */
  suits?(setting: Setting): boolean
  /** Does harm to a whole stage under load and sees to it that only what may fail does, and that it is whole again in the end. */
  run(stage: Stage): Promise<void>
}

/** Only failures of these kinds, and at most so many. */
export function assertOnly(failures: Failure[], kinds: string[], most = Infinity): void {
  const others = failures.filter(({ kind }) => !kinds.includes(kind))
  assert.deepEqual(others.slice(0, 5), [], `${others.length} failures that must not be`)
  assert.ok(failures.length <= most, `${failures.length} failures, ${most} may be: ${JSON.stringify(failures.slice(0, 5))}`)
}

/**
 * `assertOnly` where processes were killed. What ran in a process that dies is suspected, and may be kept away for a moment
 * when it happens again.
 */
export function assertLost(failures: Failure[], kinds: string[], most = Infinity): void {
  assertOnly(
    failures.filter(({ kind }) => kind !== 'quarantined'),
    kinds,
    most,
  )
}

/** What a client may see whose connection's process is killed: its connection breaks. */
export const CUT = ['cut']
/** What it may see when the process of the isolate is: that, said in an answer, or a streamed answer that breaks. */
export const LOST = ['worker_lost', 'cut']
