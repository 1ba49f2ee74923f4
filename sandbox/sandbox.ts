import type { Bundle } from '../bundler/artifact.ts'
import type { Batch } from './protocol.ts'
import type { Limits } from './limits.ts'
import type { Egress } from './operations/egress.ts'

/**
 * One function version, loaded in an isolate of its own. Where that isolate lives is the `SandboxFactory`'s business:
 * inline in this process or in a cell. The contract suite `test/sandbox-contract.ts` holds for every factory.
 *
 *     loading ──▶ ready ──▶ ended          ended is final; whoever holds the sandbox makes another
 *        └──────────────────▲
 */
export interface Sandbox {
  /** Settles once the bundle has been evaluated. Rejects with `start_failed` (or `worker_lost`); `ended` is then not called. */
  readonly ready: Promise<StartReport>
  /**
   * Submits messages (`Submit`). They reach the guest in order, together with what was submitted meanwhile, in the next
   * entry. To be used after `ready`; ignored once ended.
   */
  dispatch(batch: Batch): void
  /** Ends it at once: nothing more is emitted, `ended` is not called, its outbound requests are cut. Idempotent. */
  dispose(): void
}

/** Where sandboxes are made. */
export interface SandboxFactory {
  readonly placement: 'inline' | 'cell'
  create(spec: SandboxSpec, observer: SandboxObserver): Sandbox
  /** Ends all of its sandboxes and processes. */
  close(): Promise<void>
}

export interface SandboxSpec {
  /** `tenant/function` */
  name: string
  /** The version's id; '' when it is checked before it has become one. */
  version: string
  tenant: string
  /** Tenants of different cordons never share a process. */
  cordon: string
  /** The strictest placement that the tenant's settings or the version's own ask for. */
  placement?: 'inline' | 'adaptive' | 'cell' | 'solo'
  /** The tenant's own outbound lists, on top of the host's. */
  egress: Egress
  /** What its outbound requests add to `CDN-Loop`: the same on all hosts of a store. */
  loopId: string
  bundle: Bundle
  env: Record<string, string>
  limits: Limits
}

export interface StartReport {
  /** CPU time of evaluating the bundle, ms. */
  cpuMs: number
  handlers: string[]
}

/** Why a process that holds isolates is to be replaced, and whose code did it. */
export interface Taint {
  /** `tenant/function` */
  name: string
  /** The version's id; '' when it was being checked. */
  version: string
  /**
   * `unstoppable`: its code runs on although V8 was told to stop it, and holds a thread. `catastrophic`: V8 lost control
   * of the isolate, whose thread is parked for ever.
   */
  kind: 'unstoppable' | 'catastrophic'
  message: string
}

/** What a sandbox reports. Called from the event loop, never from within `dispatch`. */
export interface SandboxObserver {
  /** Messages of the guest (`Emit`) that concern events; those about operations and timers stay with the sandbox. */
  emit(batch: Batch): void
  /** All that was dispatched so far has been entered, and the guest is at rest. */
  settled(report: RunReport): void
  /** Its process is to be replaced, or its memory is used up: it goes on, but should be given up once what is in flight has ended. */
  retire?(): void
  /** It goes on, but has its place elsewhere now: to be loaded there first, and then given up. */
  move?(): void
  /** It is gone: over a limit, or with its process. */
  ended(failure: SandboxFailure): void
}

export interface RunReport {
  /** CPU time of the run(s) since the last report, ms. */
  cpuMs: number
  /** V8 heap and external memory in use, bytes; the last known. */
  memoryBytes: number
  /** How long what was dispatched since then has waited for a place among the isolates that run, ms. */
  waitedMs?: number
}

export interface SandboxFailure {
  /** `bad_guest`: its side of the protocol is broken, which only tenant code that got hold of it can do. */
  code: 'cpu_exceeded' | 'memory_exceeded' | 'bad_guest' | 'worker_lost' | 'internal'
  message: string
  /** Ids of events that were dispatched and whose handler had not been called: they may run elsewhere. */
  notBegun: number[]
  /**
   * Of `worker_lost`: `crashed` by itself, `killed` by somebody else (the kernel, for want of memory, or an operator),
   * ended by the kernel at the limit of its own memory cgroup, `over_memory`, `hung` and therefore ended, or ended by the
   * host on purpose, `given_up`, which says nothing about anybody.
   */
  how?: 'crashed' | 'killed' | 'over_memory' | 'hung' | 'given_up'
  /** CPU time since the last report, ms; absent where nobody can tell, as of a lost process. */
  cpuMs?: number
}
