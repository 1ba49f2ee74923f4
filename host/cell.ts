import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import type { Socket } from 'node:net'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { Channel, checkFromCell } from '../sandbox/cell-protocol.ts'
import type { FromCell, ToCell } from '../sandbox/cell-protocol.ts'
import { checkBatch } from '../sandbox/emissions.ts'
import type { Egress } from '../sandbox/operations/egress.ts'
import type { Batch } from '../sandbox/protocol.ts'
import type {
  Sandbox,
  SandboxFactory,
  SandboxFailure,
  SandboxObserver,
  SandboxSpec,
  StartReport,
  Taint,
} from '../sandbox/sandbox.ts'
import { childEnvironment } from './child-env.ts'
import { SkepError } from './errors.ts'
import type { Log } from './log.ts'

const ENTRY = join(import.meta.dirname, '../sandbox', import.meta.filename.endsWith('.ts') ? 'cell-main.ts' : 'cell-main.js')

/** What a child process sees of this one's environment: nothing that could hold a secret. */
const PASSED_ON = ['PATH', 'HOME', 'LANG', 'TZ', 'NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE', 'SSL_CERT_DIR']

/** How long a cell that holds a lost isolate may take to finish what else it has in flight, ms. */
const TAINT_GRACE = 30_000

/** Before the next start when a cell was lost before it had loaded anything, ms: the first time, and at most. */
const PAUSE_FIRST = 100
const PAUSE_MOST = 10_000

/**
 * Sandboxes in child processes. One cell at a time takes new sandboxes; when it dies or is tainted, the next one does,
 * with a growing pause between starts that fail.
 */
export class CellFactory implements SandboxFactory {
  readonly placement = 'cell'
  readonly #egress: Egress
  readonly #cores: number
  readonly #log: Log
  #current: Cell | undefined
  /** Cells in a row that were lost before they had loaded anything. */
  #failedStarts = 0
  readonly #cells = new Set<Cell>()
  #closed = false

  /** `cores`: those that the isolates of one cell may fill; default: all. */
  constructor(options: { egress: Egress; log: Log; cores?: number }) {
    this.#egress = options.egress
    this.#cores = options.cores ?? availableParallelism()
    this.#log = options.log
  }

  create(spec: SandboxSpec, observer: SandboxObserver): Sandbox {
    if (this.#closed) throw new SkepError('draining', 'The host is closing')
    if (this.#current === undefined || !this.#current.accepting) this.#current = this.#spawn()
    return this.#current.create(spec, observer)
  }

  async close(): Promise<void> {
    this.#closed = true
    await Promise.all([...this.#cells].map((cell) => cell.kill()))
  }

  /** Process ids, for tests and the operator. */
  get pids(): number[] {
    return [...this.#cells].map((cell) => cell.pid).filter((pid) => pid > 0)
  }

  #spawn(): Cell {
    const pauseMs = this.#failedStarts === 0 ? 0 : Math.min(PAUSE_MOST, PAUSE_FIRST * 2 ** (this.#failedStarts - 1))
    const cell = new Cell(
      { egress: this.#egress, cores: this.#cores },
      this.#log,
      pauseMs,
      (proven) => {
        this.#cells.delete(cell)
        if (!proven) this.#failedStarts++
      },
      () => {
        this.#failedStarts = 0
      },
    )
    this.#cells.add(cell)
    return cell
  }
}

/** One child process. `accepting` new sandboxes → `tainted` (finishing what it has) → gone. */
class Cell {
  #child: ChildProcess | undefined
  #channel: Channel<ToCell, FromCell> | undefined
  /** What is to be said to it before it has been started. */
  #unsent: ToCell[] = []
  readonly #log: Log
  readonly #sandboxes = new Map<number, CellSandbox>()
  readonly #exited: Promise<void>
  #gone!: () => void
  readonly #proves: () => void
  readonly #pause: NodeJS.Timeout | undefined
  #lastId = 0
  /** It has loaded a sandbox, or refused one: it works. */
  #proven = false
  accepting = true

  /** `gone` is called once, when the process has ended or could not be started; `proves` when it has loaded something. */
  constructor(
    settings: { egress: Egress; cores: number },
    log: Log,
    pauseMs: number,
    gone: (proven: boolean) => void,
    proves: () => void,
  ) {
    this.#log = log
    this.#proves = proves
    this.#exited = new Promise((resolve) => {
      this.#gone = () => {
        this.#gone = () => {}
        // A cell that is ended on purpose before it was of use has not failed.
        gone(this.#proven || !this.#wasLost)
        resolve()
      }
    })
    this.#send({ type: 'configure', ...settings })
    if (pauseMs === 0) this.#start()
    else this.#pause = setTimeout(() => this.#start(), pauseMs)
  }

  #wasLost = false

  #start(): void {
    const env: NodeJS.ProcessEnv = childEnvironment()
    for (const name of PASSED_ON) if (process.env[name] !== undefined) env[name] = process.env[name]
    let child: ChildProcess
    try {
      child = spawn(process.execPath, ['--no-node-snapshot', '--disable-warning=ExperimentalWarning', ENTRY], {
        stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
        env,
      })
    } catch (error) {
      // Whoever asked for the sandbox has it first.
      setImmediate(() => this.#failed((error as Error).message))
      return
    }
    this.#child = child
    child.on('error', (error) => {
      if (child.pid === undefined) this.#failed(error.message)
      else this.#lost(error.message)
    })
    child.once('close', (code, signal) => {
      this.#lost(`it ended (${signal ?? code})`)
      this.#gone()
    })
    const socket = child.stdio[3] as Socket | undefined | null
    if (child.pid === undefined || socket === undefined || socket === null) return
    this.#channel = new Channel<ToCell, FromCell>(
      socket,
      (message) => this.#receive(message),
      (reason) => {
        this.#lost(reason)
        child.kill('SIGKILL')
      },
    )
    for (const message of this.#unsent.splice(0)) this.#channel.send(message)
  }

  #failed(reason: string): void {
    this.#lost(`it could not be started: ${reason}`)
    this.#gone()
  }

  #send(message: ToCell): void {
    if (this.#channel === undefined) this.#unsent.push(message)
    else this.#channel.send(message)
  }

  get pid(): number {
    return this.#child?.pid ?? -1
  }

  create(spec: SandboxSpec, observer: SandboxObserver): Sandbox {
    const id = ++this.#lastId
    const sandbox = new CellSandbox(observer, {
      dispatch: (batch) => this.#send({ type: 'dispatch', sandbox: id, batch }),
      dispose: () => {
        this.#sandboxes.delete(id)
        this.#send({ type: 'dispose', sandbox: id })
        this.#killWhenIdle()
      },
    })
    this.#sandboxes.set(id, sandbox)
    this.#send({ type: 'create', sandbox: id, spec })
    return sandbox
  }

  async kill(): Promise<void> {
    this.accepting = false
    clearTimeout(this.#pause)
    if (this.#child === undefined) this.#failed('it was ended before')
    else this.#child.kill('SIGKILL')
    await this.#exited
  }

  /** Throws for what is no message of a cell's: the channel then closes, and the cell is lost. */
  #receive(message: FromCell): void {
    const problem = checkFromCell(message)
    if (problem !== '') throw new Error(problem)
    if (message.type === 'tainted') {
      this.#taint(message.taint)
      return
    }
    const sandbox = this.#sandboxes.get(message.sandbox)
    if (sandbox === undefined) return
    if (!this.#proven && (message.type === 'ready' || message.type === 'refused')) {
      this.#proven = true
      this.#proves()
    }
    if (message.type === 'ended' || message.type === 'refused') this.#sandboxes.delete(message.sandbox)
    sandbox.receive(message)
    this.#killWhenIdle()
  }

  /** An isolate in it is lost for ever: it takes nothing new, finishes the rest, and is killed. */
  #taint(taint: Taint): void {
    if (!this.accepting) return
    this.accepting = false
    this.#log.warn({ cell: this.pid, taint }, 'a cell is tainted and will be replaced')
    setTimeout(() => void this.kill(), TAINT_GRACE).unref()
    for (const sandbox of this.#sandboxes.values()) sandbox.retire()
    this.#killWhenIdle()
  }

  #killWhenIdle(): void {
    if (!this.accepting && this.#sandboxes.size === 0) this.#child?.kill('SIGKILL')
  }

  #lost(reason: string): void {
    this.#wasLost ||= this.accepting
    if (this.#sandboxes.size > 0) this.#log.error({ cell: this.pid, reason }, 'a cell was lost')
    this.accepting = false
    const lost = [...this.#sandboxes.values()]
    this.#sandboxes.clear()
    for (const sandbox of lost) sandbox.lost(reason)
  }
}

/** The parent's half of a sandbox in a cell. */
class CellSandbox implements Sandbox {
  readonly ready: Promise<StartReport>
  readonly #observer: SandboxObserver
  readonly #cell: { dispatch(batch: Batch): void; dispose(): void }
  #ended = false
  #settleReady!: { resolve(report: StartReport): void; reject(error: SkepError): void }
  #loading = true

  constructor(observer: SandboxObserver, cell: { dispatch(batch: Batch): void; dispose(): void }) {
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

  receive(message: Exclude<FromCell, { type: 'tainted' }>): void {
    if (this.#ended) return
    switch (message.type) {
      case 'ready':
        this.#loading = false
        this.#settleReady.resolve(message.report)
        break
      case 'refused':
        this.#ended = true
        this.#settleReady.reject(new SkepError('start_failed', message.message, { details: { stack: message.stack } }))
        break
      case 'emit':
        this.#emit(message.batch)
        break
      case 'settled':
        this.#observer.settled(message.report)
        break
      case 'ended':
        this.#end(message.failure)
        break
    }
  }

  #emit(batch: Batch): void {
    const problem = checkBatch(batch)
    if (problem === '') {
      this.#observer.emit(batch)
      return
    }
    this.#cell.dispose()
    this.#end({ code: 'internal', message: `The guest broke the protocol: ${problem}`, notBegun: [] })
  }

  /** Its cell takes no more work: whoever holds it should load the function elsewhere once it is at rest. */
  retire(): void {
    if (!this.#ended) this.#observer.retire?.()
  }

  lost(reason: string): void {
    this.#end({ code: 'worker_lost', message: `The process that ran it was lost: ${reason}`, notBegun: [] })
  }

  #end(failure: SandboxFailure): void {
    if (this.#ended) return
    this.#ended = true
    const { code, message } = failure
    if (this.#loading) this.#settleReady.reject(new SkepError(code === 'worker_lost' ? code : 'start_failed', message))
    else this.#observer.ended(failure)
  }
}
