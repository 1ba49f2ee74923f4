import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { Channel, checkFromCell } from '../sandbox/cell-protocol.ts'
import type { FromCell, ToCell } from '../sandbox/cell-protocol.ts'
import type { Egress } from '../sandbox/operations/egress.ts'
import type { Sandbox, SandboxFailure, SandboxObserver, SandboxSpec, Taint } from '../sandbox/sandbox.ts'
import { CellSandbox } from './cell-sandbox.ts'
import { childCommand, offerToKernel } from './child-command.ts'
import { childEnvironment } from './child-env.ts'
import type { MemoryBounds } from './guard.ts'
import { Heartbeat } from './heartbeat.ts'
import type { Log } from './log.ts'
import type { MemoryGroup, MemoryGroups } from './memory-cgroup.ts'

const ENTRY = join(import.meta.dirname, '../sandbox', import.meta.filename.endsWith('.ts') ? 'cell-main.ts' : 'cell-main.js')

/** What a child process sees of this one's environment: nothing that could hold a secret. */
const PASSED_ON = ['PATH', 'HOME', 'LANG', 'TZ', 'NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE', 'SSL_CERT_DIR']

/** How long a cell that holds a lost isolate may take to finish what else it has in flight, ms. */
const TAINT_GRACE = 30_000

/** Ended sandboxes that a cell may still accuse. */
const MOST_PAST = 64

/** The kernel's score of a cell when memory runs out: before workers and all that is not skep's. */
const OOM_SCORE = 500

/** Signals by which a process ends itself, or its own code has it ended. */
const CRASHES: ReadonlySet<NodeJS.Signals | null> = new Set(['SIGSEGV', 'SIGABRT', 'SIGTRAP', 'SIGILL', 'SIGBUS', 'SIGFPE'])

export interface CellOptions {
  egress: Egress
  /** Those that its isolates may fill. */
  cores: number
  log: Log
  /** Runs at a lower priority of the operating system. */
  gentle: boolean
  /** Resident bytes from which it gives up what is largest, and from which it is replaced. */
  memory: MemoryBounds
  /** Where the kernel holds it to a limit of its own. */
  groups: MemoryGroups | undefined
}

export interface CellObserver {
  /** The process has ended, or could not be started. Called once. */
  gone(proven: boolean): void
  /** It has loaded something, or refused to. */
  proves(): void
  /** It holds nothing any more. */
  emptied(): void
  tainted(taint: Taint): void
  /** Its memory is beyond the hard bound; what it holds most of is named. */
  overMemory(largest: { name: string; version: string } | undefined, rssBytes: number): void
}

/** One child process. `accepting` new sandboxes → `tainted` (finishing what it has) → gone. */
export class Cell {
  #child: ChildProcess | undefined
  #group: MemoryGroup | undefined
  #channel: Channel<ToCell, FromCell> | undefined
  /** What is to be said to it before it has been started. */
  #unsent: ToCell[] = []
  readonly #options: CellOptions
  readonly #observer: CellObserver
  readonly #sandboxes = new Map<number, CellSandbox>()
  /** Those that it held last: what is wrong with one may be known only after its end. */
  readonly #past: { name: string; version: string }[] = []
  readonly #exited: Promise<void>
  #gone!: () => void
  readonly #pause: NodeJS.Timeout | undefined
  #heart: Heartbeat | undefined
  #grace: NodeJS.Timeout | undefined
  #lastId = 0
  /** It has loaded a sandbox, or refused one: it works. */
  #proven = false
  #wasLost = false
  #wasHung = false
  #givenUp = false
  accepting = true
  rssBytes = 0

  constructor(options: CellOptions, pauseMs: number, observer: CellObserver) {
    this.#options = options
    this.#observer = observer
    this.#exited = new Promise((resolve) => {
      this.#gone = () => {
        this.#gone = () => {}
        this.#heart?.stop()
        clearTimeout(this.#grace)
        this.#group?.remove()
        // A cell that is ended on purpose before it was of use has not failed.
        observer.gone(this.#proven || !this.#wasLost)
        resolve()
      }
    })
    this.#send({ type: 'configure', egress: options.egress, cores: options.cores })
    if (pauseMs === 0) this.#start()
    else this.#pause = setTimeout(() => this.#start(), pauseMs)
  }

  get pid(): number {
    return this.#child?.pid ?? -1
  }

  get size(): number {
    return this.#sandboxes.size
  }

  create(spec: SandboxSpec, observer: SandboxObserver): Sandbox {
    const id = ++this.#lastId
    const sandbox = new CellSandbox(spec, observer, {
      dispatch: (batch) => this.#send({ type: 'dispatch', sandbox: id, batch }),
      dispose: () => {
        this.#drop(id)
        this.#send({ type: 'dispose', sandbox: id })
        this.#rest()
      },
    })
    this.#sandboxes.set(id, sandbox)
    this.#send({ type: 'create', sandbox: id, spec })
    return sandbox
  }

  async kill(): Promise<void> {
    this.accepting = false
    this.#givenUp = true
    clearTimeout(this.#pause)
    if (this.#child === undefined) this.#failed('it was ended before')
    else this.#child.kill('SIGKILL')
    await this.#exited
  }

  #start(): void {
    const env: NodeJS.ProcessEnv = childEnvironment()
    for (const name of PASSED_ON) if (process.env[name] !== undefined) env[name] = process.env[name]
    this.#group = this.#options.groups?.create()
    const { command, before, after } = childCommand({ gentle: this.#options.gentle, group: this.#group?.procs })
    const args = [...before, '--no-node-snapshot', '--disable-warning=ExperimentalWarning', ENTRY, ...after]
    let child: ChildProcess
    try {
      child = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit', 'pipe'], env })
    } catch (error) {
      // Whoever asked for the sandbox has it first.
      setImmediate(() => this.#failed((error as Error).message))
      return
    }
    this.#child = child
    child.on('error', (error) => {
      if (child.pid === undefined) this.#failed(error.message)
      else this.#lost(error.message, 'killed')
    })
    child.once('close', (code, signal) => {
      const outgrown = signal === 'SIGKILL' ? this.#group?.outgrown() : undefined
      if (outgrown !== undefined) this.#outgrew(outgrown)
      else this.#lost(`it ended (${signal ?? code})`, CRASHES.has(signal) || signal === null ? 'crashed' : 'killed')
      this.#gone()
    })
    const socket = child.stdio[3] as Socket | undefined | null
    if (child.pid === undefined || socket === undefined || socket === null) return
    offerToKernel(child.pid, OOM_SCORE)
    this.#channel = new Channel<ToCell, FromCell>(
      socket,
      (message) => this.#receive(message),
      (reason) => this.#broken(child, reason),
    )
    this.#heart = new Heartbeat({
      beat: () => this.#send({ type: 'ping' }),
      hung: (seconds) => this.#hung(child, seconds),
    })
    for (const message of this.#unsent.splice(0)) this.#channel.send(message)
  }

  /** The pipe closes before the process is reaped: how it ended is known a moment later. */
  #broken(child: ChildProcess, reason: string): void {
    this.accepting = false
    child.kill('SIGKILL')
    if (child.exitCode !== null || child.signalCode !== null) return
    if (reason !== 'the pipe closed') this.#lost(reason, 'crashed')
  }

  #hung(child: ChildProcess, seconds: number): void {
    this.#wasHung = true
    this.#options.log.error({ cell: this.pid, seconds }, 'a cell does not answer any more and is ended')
    this.#lost(`it did not answer for ${seconds} s`, 'hung')
    child.kill('SIGKILL')
  }

  /** Its memory was nobody else's: what the kernel did to it was its own doing. */
  #outgrew({ limitMb, peakMb }: { limitMb: number; peakMb: number }): void {
    this.#options.log.error(
      { cell: this.pid, limitMb, peakMb },
      'the kernel ended a cell: it reached the limit of its memory cgroup',
    )
    this.#lost(`the kernel ended it, as it came to hold ${limitMb} MB`, 'over_memory')
  }

  #failed(reason: string): void {
    this.#lost(`it could not be started: ${reason}`, 'given_up')
    this.#gone()
  }

  #send(message: ToCell): void {
    if (this.#channel === undefined) this.#unsent.push(message)
    else this.#channel.send(message)
  }

  /** Throws for what is no message of a cell's: the channel then closes, and the cell is lost. */
  #receive(message: FromCell): void {
    const problem = checkFromCell(message)
    if (problem !== '') throw new Error(problem)
    if (message.type === 'tainted') {
      this.#tainted(message.taint)
      return
    }
    if (message.type === 'pong') {
      this.#heart?.answered()
      this.#weigh(message.rssBytes)
      return
    }
    const sandbox = this.#sandboxes.get(message.sandbox)
    if (sandbox === undefined) return
    if (!this.#proven && (message.type === 'ready' || message.type === 'refused')) {
      this.#proven = true
      this.#observer.proves()
    }
    if (message.type === 'ended' || message.type === 'refused') this.#drop(message.sandbox)
    sandbox.receive(message)
    this.#rest()
  }

  #drop(id: number): void {
    const sandbox = this.#sandboxes.get(id)
    if (sandbox === undefined) return
    this.#sandboxes.delete(id)
    this.#past.push({ name: sandbox.name, version: sandbox.version })
    if (this.#past.length > MOST_PAST) this.#past.shift()
  }

  /** What a cell says is hearsay, should its code have broken out: it can accuse only those that it holds. */
  #tainted(taint: Taint): void {
    const held = [...this.#sandboxes.values(), ...this.#past]
    if (held.some(({ name, version }) => name === taint.name && version === taint.version)) this.#observer.tainted(taint)
    this.#retire({ taint }, 'a cell is tainted and will be replaced')
  }

  #weigh(rssBytes: number): void {
    this.rssBytes = rssBytes
    const { soft, hard } = this.#options.memory
    if (rssBytes <= soft || !this.accepting) return
    let largest: CellSandbox | undefined
    for (const sandbox of this.#sandboxes.values()) if (sandbox.memoryBytes > (largest?.memoryBytes ?? -1)) largest = sandbox
    if (rssBytes <= hard) {
      largest?.leave()
      return
    }
    this.#observer.overMemory(largest, rssBytes)
    this.#retire({ rssBytes, largest: largest?.name }, 'a cell holds too much memory and will be replaced')
  }

  /** It takes nothing new, finishes the rest, and is killed. */
  #retire(why: object, what: string): void {
    if (!this.accepting) return
    this.accepting = false
    this.#options.log.warn({ cell: this.pid, ...why }, what)
    this.#grace = setTimeout(() => void this.kill(), TAINT_GRACE).unref()
    for (const sandbox of [...this.#sandboxes.values()]) sandbox.leave()
    this.#rest()
  }

  #rest(): void {
    if (this.#sandboxes.size > 0) return
    if (this.accepting) this.#observer.emptied()
    else {
      this.#givenUp = true
      this.#child?.kill('SIGKILL')
    }
  }

  #lost(reason: string, how: NonNullable<SandboxFailure['how']>): void {
    this.#wasLost ||= this.accepting || !this.#givenUp
    if (this.#sandboxes.size > 0 && !this.#wasHung) this.#options.log.error({ cell: this.pid, reason }, 'a cell was lost')
    this.accepting = false
    const lost = [...this.#sandboxes.values()]
    this.#sandboxes.clear()
    for (const sandbox of lost) sandbox.lost(reason, this.#givenUp ? 'given_up' : how)
  }
}
