/** A few seconds of what `node test/fuzz/protocol.ts` does for as long as one wants. The seed is printed with each target. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Emit } from '../../sandbox/protocol.ts'
import { shrink } from './actions.ts'
import type { Action } from './actions.ts'
import { fuzzProtocol } from './protocol.ts'
import { newSeed } from './random.ts'
import { runRound } from './round.ts'

test('a host holds against random batches of a hostile guest', { timeout: 120_000 }, async () => {
  const outcomes = await fuzzProtocol({ batches: 60_000, seed: newSeed() })
  assert.deepEqual(
    outcomes.map(({ failure }) => failure),
    outcomes.map(() => ''),
  )
})

test('a round is the same when it is run again, and what is wrong with a client is seen', async () => {
  const good: Action[] = [
    { do: 'call', body: 0 },
    { do: 'return', kind: 'ok' },
    { do: 'emit', messages: [[Emit.response, { event: 0 }, 200, [], 'own'], [Emit.done, { event: 0 }]] }, // prettier-ignore
  ]
  assert.deepEqual(await runRound(good), { batches: 1, problem: '' })
  const mixedUp: Action[] = [...good.slice(0, 2), { do: 'emit', messages: [[Emit.response, { event: 0 }, 200, [], 'request-9']] }]
  const { problem } = await runRound(mixedUp)
  assert.match(problem, /request-1: got "request-9", another's/)
})

test('what fails is made smaller', async () => {
  const call: Action = { do: 'call', body: 0 }
  const emit: Action = { do: 'emit', messages: [[1], [2], [3], [4]] }
  const fails = async (actions: Action[]) => actions.some((one) => one.do === 'emit' && one.messages.some(([type]) => type === 3))
  assert.deepEqual(await shrink([call, call, emit, call, call, call], fails), [{ do: 'emit', messages: [[3]] }])
})
