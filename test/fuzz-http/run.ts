/** Many fuzzed connections at once against a host in a child process, with a good client beside them. */
import { fork, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { Random } from '../chaos/random.ts'
import { Client } from '../listener/client.ts'
import type { Carrier } from '../listener/stage.ts'
import { fuzzConnection } from './connection.ts'
import type { ChildState } from './host.child.ts'

const AT_ONCE = 48
const PROBE_EVERY_MS = 200
const PROBE_PATIENCE_MS = 20_000

export interface FuzzReport {
  carrier: Carrier
  seed: number
  requests: number
  connections: number
  answers: number
  probes: number
  seconds: number
  /** Of the child, after the first tenth and at the end, MB. */
  rssMb: [number, number]
  faults: string[]
}

export class FuzzHost {
  readonly #child: ChildProcess
  #stderr = ''
  #exit: string | undefined
  ports: ChildState['ports'] = {}

  private constructor(child: ChildProcess) {
    this.#child = child
    child.stderr!.on('data', (bytes) => (this.#stderr += bytes))
    child.once('exit', (code, signal) => (this.#exit = `the host ended (${signal ?? code}): ${this.#stderr}`))
  }

  static async start(): Promise<FuzzHost> {
    const execArgv = ['--no-node-snapshot', '--expose-gc', '--disable-warning=ExperimentalWarning']
    const child = fork(join(import.meta.dirname, 'host.child.ts'), { execArgv, stdio: ['ignore', 'inherit', 'pipe', 'ipc'] })
    const host = new FuzzHost(child)
    host.ports = (await host.#state()).ports
    return host
  }

  stop(): void {
    this.#child.disconnect()
  }

  #state(): Promise<ChildState> {
    return new Promise((resolve, reject) => {
      if (this.#exit !== undefined) return reject(new Error(this.#exit))
      this.#child.once('message', (state) => resolve(state as ChildState))
      this.#child.once('exit', () => reject(new Error(this.#exit)))
    })
  }

  state(): Promise<ChildState> {
    const state = this.#state()
    if (this.#exit === undefined) this.#child.send('state')
    return state
  }

  /** At least so many requests, or until something is wrong or the time is over. */
  async fuzz(carrier: Carrier, options: { requests: number; seed: number; seconds?: number }): Promise<FuzzReport> {
    const { requests, seed, seconds = Infinity } = options
    const port = this.ports[carrier]!
    const report: FuzzReport = {
      carrier,
      seed,
      requests: 0,
      connections: 0,
      answers: 0,
      probes: 0,
      seconds: 0,
      rssMb: [0, 0],
      faults: [],
    }
    const began = performance.now()
    let started = 0
    const going = () =>
      report.requests < requests &&
      report.faults.length === 0 &&
      this.#exit === undefined &&
      performance.now() - began < seconds * 1_000
    const worker = async () => {
      while (going()) {
        const { requests: sent, answers, fault } = await fuzzConnection(carrier, port, new Random(seed + started++ * 0x9e3779b9))
        report.requests += sent
        report.answers += answers
        report.connections++
        if (fault !== undefined) report.faults.push(fault)
        if (report.rssMb[0] === 0 && report.requests * 10 > requests) report.rssMb[0] = -1
        if (report.rssMb[0] === -1) {
          report.rssMb[0] = 1
          report.rssMb[0] = megabytes((await this.state()).rss)
        }
      }
    }
    const probes = this.#probe(carrier, report, going)
    await Promise.all(Array.from({ length: AT_ONCE }, worker))
    await probes
    if (this.#exit === undefined) {
      const state = await this.state()
      report.rssMb[1] = megabytes(state.rss)
      report.faults.push(...state.faults)
    } else {
      report.faults.push(this.#exit)
    }
    if (this.#stderr !== '') report.faults.push(this.#stderr)
    report.seconds = (performance.now() - began) / 1_000
    return report
  }

  /** Somebody else's well-formed requests are answered rightly all the while. */
  async #probe(carrier: Carrier, report: FuzzReport, going: () => boolean): Promise<void> {
    const port = this.ports[carrier]!
    do {
      const client = carrier === 'uws' || carrier === 'node' ? await Client.open(port) : await Client.openTls(port)
      const token = `probe-${report.probes}`
      const late = setTimeout(() => client.close(), PROBE_PATIENCE_MS)
      client.send(`POST / HTTP/1.1\r\nHost: fuzz.test\r\nX-Token: ${token}\r\nContent-Length: 5\r\n\r\nhello`)
      const answer = await client.answer()
      clearTimeout(late)
      client.close()
      const text = answer?.body.toString()
      if (text !== `${token} 5`) report.faults.push(`a good request was answered ${answer?.status} ${text}`)
      report.probes++
      await new Promise((resolve) => setTimeout(resolve, PROBE_EVERY_MS))
    } while (going())
  }
}

function megabytes(bytes: number): number {
  return Math.round(bytes / 1_048_576)
}
