import { inspect } from 'node:util'
import { checkBatch, sortOut } from '../../sandbox/emissions.ts'
import { EMIT_FIELDS, Emit } from '../../sandbox/protocol.ts'
import type { Batch } from '../../sandbox/protocol.ts'
import { oddValue, randomMessage } from './actions.ts'
import type { Target } from './protocol.ts'
import { Random } from './random.ts'

/** The gate alone: it never throws, and what it lets through is what it says, to the last field. */
export const fuzzCheck: Target = async ({ batches, seed }) => {
  const random = new Random(seed)
  for (let done = 0; done < batches; done++) {
    const batch = randomBatch(random)
    const problem = judge(batch)
    if (problem === '') continue
    return { batches: done, failure: `check, seed ${seed}: ${problem}\n${inspect(batch, { depth: 4 })}` }
  }
  return { batches, failure: '' }
}

function randomBatch(random: Random): unknown {
  if (random.chance(0.02)) return oddValue(random)
  const malformed = random.pick([0, 0.05, 0.5])
  const batch: unknown[] = []
  for (let count = random.int(6); count > 0; count--)
    for (const field of randomMessage(random, malformed)) batch.push(isReference(field) ? random.int(5) : field)
  if (random.chance(0.02)) batch.length = random.pick([0, batch.length + 1, 2 ** 32 - 1])
  return batch
}

function judge(batch: unknown): string {
  try {
    if (checkBatch(batch) !== '') return ''
    const checked = batch as Batch
    if (checked.length > 1e6) return 'a batch of holes passed'
    let others = 0
    const events = sortOut(checked, (all, at) => {
      others += 1 + EMIT_FIELDS[all[at] as number]!
    })
    if (events.length + others !== checked.length) return 'fields were lost or doubled'
    for (let at = 0; at < events.length; at += EMIT_FIELDS[events[at] as number]! + 1) {
      const type = events[at] as number
      if (type < Emit.response || type > Emit.log) return `message ${type} is no event's`
    }
    return ''
  } catch (error) {
    return `thrown: ${(error as Error).stack}`
  }
}

function isReference(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && 'event' in value
}
