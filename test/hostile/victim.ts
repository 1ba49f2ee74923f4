import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Interface } from 'node:readline'
import type { Scene } from './scene.ts'

export interface Figures {
  sent: number
  answered: number
  again: number
  wrong: string[]
  /** Latencies, ms. */
  p50: number
  p99: number
  max: number
}

const SOURCE = `export default {
  async fetch(request) {
    const id = new URL(request.url).pathname.slice(1)
    const digits = [...id].map((digit) => Number(digit))
    return new Response('victim ' + digits.join(''), { headers: { 'x-victim': 'yes' } })
  },
}`

/** A tenant who does nothing wrong, and its clients in a process of their own. */
export class Victim {
  readonly #child: ChildProcess
  readonly #lines: Interface
  #waiting: ((line: string) => void)[] = []

  private constructor(port: number, rate: number) {
    this.#child = spawn(process.execPath, [join(import.meta.dirname, 'victim.child.ts'), String(port), String(rate)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    process.once('exit', () => this.#child.kill('SIGKILL'))
    this.#lines = createInterface({ input: this.#child.stdout! })
    this.#lines.on('line', (line) => this.#waiting.shift()?.(line))
  }

  static async start(scene: Scene, rate: number): Promise<Victim> {
    const refused = await scene.deploy('victim', { source: SOURCE, tenant: 'victim' })
    if (refused !== '') throw new Error(`The victim could not be deployed: ${refused}`)
    const first = await scene.send('victim.localhost', { path: '/1' })
    if (first.text !== 'victim 1') throw new Error(`The victim does not answer: ${first.outcome} ${first.text}`)
    const victim = new Victim(scene.served.port, rate)
    await victim.#line()
    return victim
  }

  /** What it saw since the last call. */
  async period(): Promise<Figures> {
    const line = this.#line()
    this.#child.stdin!.write('\n')
    return JSON.parse(await line) as Figures
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.kill('SIGKILL')
    await ended
  }

  #line(): Promise<string> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }
}
