import type { FromCell } from '../sandbox/cell-protocol.ts'
import { checkBatch } from '../sandbox/emissions.ts'
import type { Batch } from '../sandbox/protocol.ts'
import type { Sandbox, SandboxFailure, SandboxObserver, StartReport } from '../sandbox/sandbox.ts'
import { SkepError } from './errors.ts'

/** What is said of one sandbox. */
export type FromSandbox = Extract<FromCell, { sandbox: number }>

/** The parent's half of a sandbox in a cell. */
export class CellSandbox implements Sandbox {
  readonly ready: Promise<StartReport>
  /** `tenant/function` and its version. */
  readonly name: string
  readonly version: string
  /** The last that was heard of it. */
  memoryBytes = 0
  readonly #observer: SandboxObserver
  readonly #cell: { dispatch(batch: Batch): void; dispose(): void }
  #ended = false
  #settleReady!: { resolve(report: StartReport): void; reject(error: SkepError): void }
  #loading = true

  constructor(
    { name, version }: { name: string; version: string },
    observer: SandboxObserver,
    cell: { dispatch(batch: Batch): void; dispose(): void },
  ) {
    this.name = name
    this.version = version
    this.#observer = observer
    this.#cell = cell
    this.ready = new Promise((resolve, reject) => {
      this.#settleReady = { resolve, reject }
    })
    this.ready.catch(() => {})
  }

  dispatch(batch: Batch): void {
    if (!this.#ended) this.#cell.dispatch(batch)
  }

  dispose(): void {
    if (this.#ended) return
    this.#ended = true
    this.#cell.dispose()
    if (this.#loading) this.#settleReady.reject(new SkepError('start_failed', 'It was ended while it started.'))
  }

  receive(message: FromSandbox): void {
    if (this.#ended) return
    switch (message.type) {
      case 'ready':
        this.#loading = false
        this.#settleReady.resolve(message.report)
        break
      case 'refused':
        if (!this.#loading) {
          // Only a cell in hostile hands refuses what has started.
          this.#end({ code: 'worker_lost', message: 'Its process broke the protocol', notBegun: [] })
          break
        }
        this.#ended = true
        this.#settleReady.reject(new SkepError('start_failed', message.message, { details: { stack: message.stack } }))
        break
      case 'emit':
        this.#emit(message.batch)
        break
      case 'settled':
        this.memoryBytes = message.report.memoryBytes
        this.#observer.settled(message.report)
        break
      case 'retire':
        this.#observer.retire?.()
        break
      case 'ended': {
        // How a process was lost is not for the process to say.
        const { how: _, ...failure } = message.failure
        this.#end(failure)
        break
      }
    }
  }

  #emit(batch: Batch): void {
    const problem = checkBatch(batch)
    if (problem === '') {
      this.#observer.emit(batch)
      return
    }
    this.#cell.dispose()
    this.#end({ code: 'bad_guest', message: `The guest broke the protocol: ${problem}`, notBegun: [] })
  }

  /** Its cell takes no more work: whoever holds it should load the function elsewhere. */
  leave(): void {
    if (this.#ended) return
    if (this.#observer.move === undefined) this.#observer.retire?.()
    else this.#observer.move()
  }

  lost(reason: string, how: NonNullable<SandboxFailure['how']>): void {
    this.#end({ code: 'worker_lost', message: `The process that ran it was lost: ${reason}`, notBegun: [], how })
  }

  #end(failure: SandboxFailure): void {
    if (this.#ended) return
    this.#ended = true
    if (this.#loading) {
      const code = failure.code === 'worker_lost' ? failure.code : 'start_failed'
      this.#settleReady.reject(new SkepError(code, failure.message, { details: { how: failure.how } }))
    } else this.#observer.ended(failure)
  }
}
