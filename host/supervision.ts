import type { MetricObject } from 'prom-client'
import type { Config } from './config.ts'
import type { ErrorCode } from './errors.ts'
import type { Credential } from './listener/certificates.ts'
import type { Listener } from './listener/listener.ts'
import type { Notice } from './registry.ts'
import type { Taint } from '../sandbox/sandbox.ts'

/** Every message between the supervisor and its workers. They travel over Node's cluster channel. */
export type ToWorker =
  /** Serve on this port. Once, first. */
  | { type: 'start'; config: Config; port: number; tls?: { port: number; credentials: Credential[] } }
  /** New handshakes use these. */
  | { type: 'certificates'; credentials: Credential[] }
  | { type: 'notice'; notice: Notice }
  /** Answer with `metrics` of the same id. */
  | { type: 'metrics'; id: number }
  /** Accept nothing new, finish what is in flight, end. */
  | { type: 'drain' }

export type FromWorker =
  | { type: 'listening'; port: number; listener: Listener['kind']; reason: string }
  | { type: 'failed'; code: ErrorCode; message: string }
  | { type: 'metrics'; id: number; metrics: MetricObject[]; stats: WorkerStats }
  /** It holds an isolate that is lost for ever: replace it. */
  | { type: 'tainted'; taint: Taint }

export interface WorkerStats {
  ready: number
  loading: number
  draining: number
  memoryBytes: number
  inFlight: number
  rssBytes: number
}
