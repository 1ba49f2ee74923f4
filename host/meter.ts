import type { RunReport, SandboxFailure } from '../sandbox/sandbox.ts'
import type { Admission } from './admission.ts'
import type { Call } from './call.ts'
import type { FunctionUse } from './usage.ts'

/** A batch holds as many events as are expected to take this much CPU time together, ms; of an unknown function one. */
const BATCH_MS = 4
const LARGEST_BATCH = 256

/** What one instance uses: told to its function's account, and learnt from, so that batches have the right size. */
export class Meter {
  memoryBytes = 0
  readonly #use: FunctionUse
  readonly #admission: Admission
  /** The calls of the last batch while its CPU time is not known, and when they were given to the sandbox. */
  #entered: Call[] = []
  #enteredAt = 0
  /** Running mean of an event's CPU time, ms; -1 while it is not known. */
  #cost = -1
  #isCounted = true

  constructor(use: FunctionUse, admission: Admission) {
    this.#use = use
    this.#admission = admission
    use.isolates++
  }

  /** A batch is in the sandbox and its time is not known yet: no other goes in. */
  get isRunning(): boolean {
    return this.#entered.length > 0
  }

  get batchSize(): number {
    return this.#cost < 0 ? 1 : Math.min(LARGEST_BATCH, Math.max(1, Math.floor(BATCH_MS / Math.max(this.#cost, 0.001))))
  }

  loaded(cpuMs: number): void {
    this.#admission.usage.ran(this.#use, cpuMs)
  }

  entered(calls: Call[], now: number): void {
    this.#entered = calls
    this.#enteredAt = now
  }

  settled({ cpuMs, memoryBytes, waitedMs = 0 }: RunReport): void {
    this.#admission.usage.ran(this.#use, cpuMs)
    this.#use.memoryBytes += memoryBytes - this.memoryBytes
    this.memoryBytes = memoryBytes
    const entered = this.#entered
    if (entered.length === 0) return
    this.#entered = []
    const cost = cpuMs / entered.length
    this.#cost = mean(this.#cost, cost)
    this.#use.costMs = mean(this.#use.costMs, cost)
    for (const call of entered) this.#admission.ran(call, this.#enteredAt, waitedMs)
  }

  /** Something did not end by itself: the function is expected to do so again. */
  failed({ cpuMs = 0 }: SandboxFailure): void {
    this.#admission.usage.ran(this.#use, cpuMs)
    if (this.#entered.length > 0) this.#use.costMs = Math.max(this.#use.costMs, cpuMs / this.#entered.length)
    this.close()
  }

  left(call: Call): void {
    this.#admission.left(call)
  }

  refused(): void {
    this.#admission.usage.limited(this.#use, 'concurrency')
  }

  /** It is no isolate of its function any more. Idempotent. */
  close(): void {
    if (!this.#isCounted) return
    this.#isCounted = false
    this.#use.isolates--
    this.#use.memoryBytes -= this.memoryBytes
  }
}

function mean(before: number, value: number): number {
  return before < 0 ? value : before * 0.8 + value * 0.2
}
