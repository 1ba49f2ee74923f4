import { execFileSync, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { CreateBucketCommand, PutBucketPolicyCommand, S3Client } from '@aws-sdk/client-s3'

const CREDENTIALS = { accessKeyId: 'skep', secretAccessKey: 'skep-test-secret' }

export interface S3Service {
  endpoint: string
  region: string
  bucket: string
  credentials: { accessKeyId: string; secretAccessKey: string }
  /** SIGKILL; resolves when it is dead. The folder stays. */
  kill(): Promise<void>
  /** On the same port and folder, after `kill`; resolves when it answers. */
  restart(): Promise<void>
  /** SIGSTOP: connections open, nothing answers. Resolves when every thread stands. */
  pause(): Promise<void>
  resume(): void
  /** Ends it and removes its folder. */
  stop(): Promise<void>
}

/** Why there is no S3 server, or undefined where there is one. Give it to `skipUnless`. */
export function missingS3(): string | undefined {
  return existsSync(binary()) ? undefined : `there is no S3 server: run test/services/install-s3.sh (${binary()} is missing)`
}

/** The version stands in the script alone. */
function binary(): string {
  const version = /^version=(.+)$/m.exec(readFileSync(new URL('install-s3.sh', import.meta.url), 'utf8'))![1]!
  return join(process.env['SKEP_CACHE'] ?? join(homedir(), '.cache/skep'), 'services', `minio-${version}`, 'minio')
}

/** Starts a server with one bucket, which anybody on this machine may use: the front of `s3-front.ts` signs nothing. */
export async function startS3(): Promise<S3Service> {
  const folder = await mkdtemp(join(tmpdir(), 'skep-s3-'))
  // Another process may take the port between here and MinIO's own listen.
  for (let round = 1; ; round++) {
    const server = new Server(await freePort(), folder)
    try {
      await server.start()
      await makeBucket(server.endpoint, 'skep-test')
      return {
        endpoint: server.endpoint,
        region: 'us-east-1',
        bucket: 'skep-test',
        credentials: CREDENTIALS,
        kill: () => server.kill(),
        restart: () => server.start(),
        pause: () => server.pause(),
        resume: () => server.signal('SIGCONT'),
        stop: async () => {
          await server.kill()
          await rm(folder, { recursive: true, force: true })
        },
      }
    } catch (error) {
      await server.kill()
      if (round === 3) throw error
    }
  }
}

class Server {
  readonly endpoint: string
  readonly #port: number
  readonly #folder: string
  #child: ChildProcess | undefined
  #said = ''

  constructor(port: number, folder: string) {
    this.#port = port
    this.#folder = folder
    this.endpoint = `http://127.0.0.1:${port}`
  }

  async start(): Promise<void> {
    const child = spawn(binary(), ['server', '--quiet', '--address', `127.0.0.1:${this.#port}`, this.#folder], {
      env: {
        HOME: this.#folder,
        MINIO_ROOT_USER: CREDENTIALS.accessKeyId,
        MINIO_ROOT_PASSWORD: CREDENTIALS.secretAccessKey,
        MINIO_BROWSER: 'off',
        MINIO_UPDATE: 'off',
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child = child
    // A test that dies, even by SIGKILL, takes the server with it: its end of the guard's pipe closes.
    const guard = spawn('sh', ['-c', `read -r _; kill -9 ${child.pid}`], { stdio: ['pipe', 'ignore', 'ignore'] })
    child.once('exit', () => guard.kill('SIGKILL'))
    guard.unref()
    const note = (chunk: Buffer): void => {
      this.#said = (this.#said + chunk.toString()).slice(-4_000)
    }
    child.stdout.on('data', note)
    child.stderr.on('data', note)
    const deadline = performance.now() + 60_000
    while (!(await this.#isReady())) {
      if (child.exitCode !== null) throw new Error(`MinIO ended with ${child.exitCode}: ${this.#said}`)
      if (performance.now() > deadline) throw new Error(`MinIO is not ready after a minute: ${this.#said}`)
      await sleep(20)
    }
  }

  async #isReady(): Promise<boolean> {
    try {
      const answer = await fetch(`${this.endpoint}/minio/health/cluster`, { signal: AbortSignal.timeout(1_000) })
      await answer.arrayBuffer()
      return answer.ok
    } catch {
      return false
    }
  }

  /** The signal's threads stop one by one, and on a busy machine one of them answers a last request. */
  async pause(): Promise<void> {
    this.signal('SIGSTOP')
    while (!isStopped(this.#child!.pid!)) await sleep(5)
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal)
  }

  async kill(): Promise<void> {
    const child = this.#child
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }
}

function isStopped(pid: number): boolean {
  if (!existsSync('/proc/self/task'))
    return execFileSync('ps', ['-o', 'state=', '-p', String(pid)])
      .toString()
      .startsWith('T')
  try {
    const threads = readdirSync(`/proc/${pid}/task`)
    return threads.every((thread) => readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8').includes('State:\tT'))
  } catch {
    // A thread ended between the two reads, so not all of them stand.
    return false
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

async function makeBucket(endpoint: string, bucket: string): Promise<void> {
  const client = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials: CREDENTIALS })
  const resources = [`arn:aws:s3:::${bucket}`, `arn:aws:s3:::${bucket}/*`]
  const statement = { Effect: 'Allow', Principal: { AWS: ['*'] }, Action: ['s3:*'], Resource: resources }
  try {
    await client.send(new CreateBucketCommand({ Bucket: bucket }))
    await client.send(
      new PutBucketPolicyCommand({ Bucket: bucket, Policy: JSON.stringify({ Version: '2012-10-17', Statement: [statement] }) }),
    )
  } finally {
    client.destroy()
  }
}
