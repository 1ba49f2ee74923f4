import { arrayPush, construct, reflectApply } from './primordials.ts'
import { replaceConstructor } from './replace.ts'
import { reportException } from './report.ts'

/**
 * V8 calls a registry's callback in a task of its own: at a time of its choosing, under no limit, while the host may be
 * waiting for this isolate to be at rest. So what it calls is ours and only takes a note, and the tenant's callback runs
 * at the end of the next entry, on the budget of that.
 */
const due: { callback: (held: unknown) => unknown; held: unknown }[] = []

export function installFinalization(global: object): void {
  const Real = FinalizationRegistry
  replaceConstructor(global, Real, (newTarget, callback) => {
    if (typeof callback !== 'function') throw new TypeError('FinalizationRegistry: cleanup must be callable')
    const note = (held: unknown) => void arrayPush(due, { callback: callback as (held: unknown) => unknown, held })
    return construct(Real, [note], newTarget)
  })
}

/** Calls what is due. */
export function runFinalizers(): void {
  if (due.length === 0) return
  const calls = due.length
  for (let i = 0; i < calls; i++) {
    const { callback, held } = due[i]!
    try {
      reflectApply(callback, undefined, [held])
    } catch (error) {
      reportException(error)
    }
  }
  for (let i = calls; i < due.length; i++) due[i - calls] = due[i]!
  due.length -= calls
}
