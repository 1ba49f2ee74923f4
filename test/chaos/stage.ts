import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client, functionPath } from '../../control-api/cli/client.ts'
import { bundleOf, form } from '../../control-api/test-support/host.ts'
import { adminTokenFile } from '../../control-api/tokens.ts'
import { eventually, startServed } from '../served.ts'
import type { Served } from '../served.ts'
import { startS3 } from '../services/s3.ts'
import type { S3Service } from '../services/s3.ts'
import { FUNCTIONS, hostOf, oneOfEach, QUESTIONS } from './functions.ts'
import { ask, Load } from './load.ts'
import { processesOf } from './processes.ts'
import type { ProcessInfo } from './processes.ts'
import { startProxy } from './proxy.ts'
import type { Proxy } from './proxy.ts'
import type { Random } from './random.ts'

export interface Setting {
  store: 'file' | 's3'
  placement: 'inline' | 'cell'
}

export interface StageOptions extends Setting {
  random: Random
  env?: NodeJS.ProcessEnv
  /** Runs the host by way of this command. */
  wrap?: string[]
  /** Does something to the host's folder before the start, a mount for instance; what it returns undoes it. */
  prepare?: (folder: string) => Promise<() => void>
}

/** No test here is of these limits, and on a busy machine the default ones come near. */
const ROOMY = { SKEP_LIMITS_CPU_MS: '5000', SKEP_CEILINGS_CPU_MS: '5000', SKEP_LIMITS_START_MS: '5000' }

/** Functions that are suspected without reason come back soon. */
const LENIENT = { SKEP_QUARANTINE_SECONDS: '1', SKEP_QUARANTINE_MOST_SECONDS: '2' }

/** A real `skep serve` with two workers, its store behind a proxy where that is S3, under a steady checked load. */
export class Stage {
  readonly setting: Setting
  readonly random: Random
  readonly folder: string
  readonly s3: S3Service | undefined
  readonly proxy: Proxy | undefined
  readonly #env: NodeJS.ProcessEnv
  readonly #wrap: string[]
  #undo: () => void = () => {}
  served!: Served
  load!: Load

  private constructor(options: StageOptions, folder: string, s3: S3Service | undefined, proxy: Proxy | undefined) {
    this.setting = { store: options.store, placement: options.placement }
    this.random = options.random
    this.folder = folder
    this.s3 = s3
    this.proxy = proxy
    this.#env = options.env ?? {}
    this.#wrap = options.wrap ?? []
  }

  static async open(options: StageOptions): Promise<Stage> {
    const folder = await mkdtemp(join(tmpdir(), 'skep-chaos-'))
    await mkdir(join(folder, 'home'))
    const s3 = options.store === 's3' ? await startS3() : undefined
    const proxy = s3 && (await startProxy({ host: '127.0.0.1', port: Number(new URL(s3.endpoint).port) }))
    const stage = new Stage(options, folder, s3, proxy)
    try {
      if (options.prepare !== undefined) stage.#undo = await options.prepare(folder)
      await stage.start()
      for (const [name, code] of Object.entries(FUNCTIONS)) await stage.deploy(name, code, { NAME: 'chaos' })
      stage.load = new Load(stage.served.port, QUESTIONS, stage.random)
      await stage.load.goesOn(30)
      return stage
    } catch (error) {
      await stage.#clear()
      throw error
    }
  }

  get home(): string {
    return join(this.folder, 'home')
  }

  get data(): string {
    return join(this.folder, 'data')
  }

  /** Starts the host, again on the same folder where it had been started before. */
  async start(): Promise<void> {
    const { s3, setting } = this
    const store = s3 === undefined ? [] : ['--store', `s3://${s3.bucket}/skep`]
    const s3Env = s3 && {
      SKEP_S3_ENDPOINT: `http://127.0.0.1:${this.proxy!.port}`,
      SKEP_S3_REGION: s3.region,
      AWS_ACCESS_KEY_ID: s3.credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: s3.credentials.secretAccessKey,
    }
    this.served = await startServed({
      data: this.data,
      args: ['--workers', '2', ...store],
      env: { SKEP_PLACEMENT: setting.placement, HOME: this.home, ...ROOMY, ...LENIENT, ...s3Env, ...this.#env },
      wrap: this.#wrap,
    })
    // It is undefined before the first start has functions to be asked for.
    ;(this.load as Load | undefined)?.move(this.served.port)
  }

  async client(): Promise<Client> {
    const token = await readFile(adminTokenFile(this.data), 'utf8')
    return new Client(new URL(`http://127.0.0.1:${this.served.apiPort}`), { authorization: `Bearer ${token.trim()}` })
  }

  /** Uploads, activates and routes a function, as `skep deploy` does; the version's id. */
  async deploy(name: string, code: string, vars: Record<string, string> = {}, limits: object = {}): Promise<string> {
    const client = await this.client()
    const body = form({ vars, limits }, bundleOf(code))
    const { version } = await client.call<{ version: { id: string } }>(functionPath(name, '/versions'), { method: 'POST', body })
    await this.activate(name, version.id)
    await client.call(`/v1/routes/${hostOf(name)}`, { method: 'PUT', json: { function: name } })
    return version.id
  }

  async activate(name: string, version: string): Promise<void> {
    const client = await this.client()
    const json = { versions: [{ id: version, percent: 100 }] }
    await client.call(functionPath(name, '/deployment'), { method: 'PUT', json })
  }

  processes(role?: ProcessInfo['role']): ProcessInfo[] {
    return processesOf(this.home).filter((one) => role === undefined || one.role === role)
  }

  /** Cells in which the functions' isolates are: those of workers. */
  cells(): ProcessInfo[] {
    const workers = this.processes('worker').map(({ pid }) => pid)
    return this.processes('cell').filter(({ parent }) => workers.includes(parent))
  }

  /** Resolves once both workers listen, no other is there, and every function answers rightly, on many new connections. */
  async whole(ms = 30_000): Promise<void> {
    await eventually(
      'all is well again',
      async () => {
        const { pids } = await (await this.client()).call<{ pids: number[] }>('/v1/status')
        if (pids.length !== 2 || this.processes('worker').length !== 2) return false
        const questions = Array.from({ length: 6 }, () => oneOfEach(this.random)).flat()
        const failures = await Promise.all(questions.map((question) => ask(this.served.port, question)))
        return failures.every((failure) => failure === undefined)
      },
      ms,
    )
    await this.load.goesOn(30)
  }

  /** Ends everything; what should have ended with it and has not is an error. */
  async close(): Promise<void> {
    await this.load.stop()
    try {
      await this.served.stop()
      await eventually('no process is left', async () => this.processes().length === 0, 15_000)
      if (this.setting.store === 'file') {
        // What a killed process was writing stays until it is an hour old: only then it is surely nobody's.
        const left = (await readdir(join(this.data, 'store/tmp'))).filter((name) =>
          name.startsWith(`${this.served.process.pid}-`),
        )
        if (left.length > 0) throw new Error(`Temporary files are left: ${left.join(', ')}`)
      }
    } finally {
      await this.#clear()
    }
  }

  /** Ends every process of the host at once. */
  destroy(): void {
    for (const { pid } of this.processes()) process.kill(pid, 'SIGKILL')
  }

  async #clear(): Promise<void> {
    this.destroy()
    await this.proxy?.close()
    await this.s3?.stop()
    this.#undo()
    await rm(this.folder, { recursive: true, force: true })
  }
}
