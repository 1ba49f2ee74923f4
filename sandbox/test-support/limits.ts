import type { Breach, LimitEnforcer, MemoryVerdict } from '../limit-enforcer.ts'
import type { RunReport } from '../sandbox.ts'

/** Limits that nothing passes: they record what they are told, by method and in order. */
export class RecordingLimits implements LimitEnforcer {
  readonly heapMb = 64
  readonly calls: [name: string, ...values: unknown[]][] = []
  readonly entryMs = 0
  readonly #live = new Set<number>()

  get live(): number {
    return this.#live.size
  }

  /** Names of the calls so far. */
  get names(): string[] {
    return this.calls.map(([name]) => name)
  }

  isLive(event: number): boolean {
    return this.#live.has(event)
  }

  starting(cpuMs: number): void {
    this.calls.push(['starting', cpuMs])
  }

  started(): number {
    this.calls.push(['started'])
    return 0
  }

  eventBegan(event: number): void {
    this.#live.add(event)
    this.calls.push(['eventBegan', event])
  }

  eventEnded(event: number): void {
    this.#live.delete(event)
    this.calls.push(['eventEnded', event])
  }

  carried(bytes: number): void {
    this.calls.push(['carried', bytes])
  }

  isOpen(): boolean {
    return true
  }

  enter(): number {
    this.calls.push(['enter'])
    return 1_000_000
  }

  enterForHost(_now: number, wallMs: number): void {
    this.calls.push(['enterForHost', wallMs])
  }

  watchIn(): number {
    return 1_000_000
  }

  watch(cpuMs: number): number | Breach {
    this.calls.push(['watch', cpuMs])
    return 1_000_000
  }

  leave(cpuMs: number): Breach | undefined {
    this.calls.push(['leave', cpuMs])
    return undefined
  }

  stopped(by: 'timeout' | 'memory'): Breach {
    this.calls.push(['stopped', by])
    return { code: by === 'timeout' ? 'cpu_exceeded' : 'memory_exceeded', message: `stopped by ${by}` }
  }

  wantsMemory(): boolean {
    return true
  }

  memory(bytes: number, _now: number, collected: boolean): MemoryVerdict {
    this.calls.push(['memory', bytes, collected])
    return 'fine'
  }

  collected(cpuMs: number): void {
    this.calls.push(['collected', cpuMs])
  }

  report(): RunReport {
    this.calls.push(['report'])
    return { cpuMs: 0, memoryBytes: 0 }
  }

  ended(cpuMs: number): number {
    this.calls.push(['ended', cpuMs])
    return 0
  }
}

/** Limits that trip when a test says so: at the next occasion after the start. */
export class TrippingLimits extends RecordingLimits {
  next: { watch?: Breach; leave?: Breach; memory?: MemoryVerdict[] } = {}

  override watchIn(): number {
    return 1
  }

  override watch(cpuMs: number): number | Breach {
    super.watch(cpuMs)
    const { watch } = this.next
    delete this.next.watch
    return watch ?? 1
  }

  override leave(cpuMs: number): Breach | undefined {
    super.leave(cpuMs)
    return this.next.leave
  }

  override memory(bytes: number, now: number, collected: boolean): MemoryVerdict {
    super.memory(bytes, now, collected)
    return this.next.memory?.shift() ?? 'fine'
  }
}
