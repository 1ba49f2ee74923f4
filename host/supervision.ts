import type { MetricObject } from 'prom-client'
import type { ConductAnswer, ConductMessage } from './conduct-mirror.ts'
import type { ConductChange } from './conduct.ts'
import type { Config } from './config.ts'
import type { ErrorCode } from './errors.ts'
import type { MemoryBounds } from './guard.ts'
import type { Credential } from './listener/certificates.ts'
import type { Listener } from './listener/listener.ts'
import type { GroupSettings } from './memory-cgroup.ts'
import type { Notice } from './registry.ts'
import type { Taint } from '../sandbox/sandbox.ts'
import type { UsageLine } from './usage.ts'

/** Every message between the supervisor and its workers. They travel over Node's cluster channel. */
export type ToWorker =
  /** Serve on this port, knowing what is known of functions. Once, first. */
  | {
      type: 'start'
      config: Config
      port: number
      known: ConductChange[]
      /** Its own, and those of its cells. */
      memory: MemoryBounds
      /** Where its cells have memory cgroups, if they have any. */
      groups: GroupSettings | undefined
      /** Where there are certificates. */
      tls: { port: number; credentials: Credential[] } | undefined
    }
  /** New handshakes use these. */
  | { type: 'certificates'; credentials: Credential[] }
  | { type: 'notice'; notice: Notice }
  /** Answer with `metrics` of the same id; with what functions use where `usageOf` asks for it: a tenant, or `*` for all. */
  | { type: 'metrics'; id: number; usageOf?: string }
  /** A new version is on its way: have a process for it. */
  | { type: 'warm'; cordon: string }
  /** Answer with `pong`, as soon as the event loop turns. */
  | { type: 'ping' }
  /** Accept nothing new, finish what is in flight, end. */
  | { type: 'drain' }
  | ConductAnswer

export type FromWorker =
  | { type: 'listening'; port: number; listener: Listener['kind']; reason: string }
  | { type: 'failed'; code: ErrorCode; message: string }
  | { type: 'metrics'; id: number; metrics: MetricObject[]; stats: WorkerStats; usage?: UsageLine[] }
  /** It holds an isolate that is lost for ever: replace it. */
  | { type: 'tainted'; taint: Taint }
  /** It holds more memory than it may, and gives none back: replace it. */
  | { type: 'over_memory'; rssBytes: number; largest: string }
  /** What runs, or has just run, in its own process: what may be to blame when it ends. */
  | { type: 'active'; versions: { name: string; version: string }[] }
  | { type: 'pong' }
  | ConductMessage

export interface WorkerStats {
  ready: number
  loading: number
  draining: number
  memoryBytes: number
  inFlight: number
  rssBytes: number
}
