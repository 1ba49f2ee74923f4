import { execFile, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { once } from 'node:events'
import { askText } from '../client.ts'
import { sleep } from '../processes.ts'
import { SERVER_CORE } from './target.ts'

const BINARY = join(import.meta.dirname, '../peers/node_modules/@cloudflare/workerd-linux-64/bin/workerd')
const START_PATIENCE = 10_000

/** Why workerd cannot be measured here; undefined where it can. */
export async function workerdIsMissing(): Promise<string | undefined> {
  if (!existsSync(BINARY)) return 'workerd is not installed: cd bench/peers && npm ci --ignore-scripts'
  try {
    await promisify(execFile)(BINARY, ['--version'])
    return undefined
  } catch (error) {
    return `workerd does not run here: ${(error as Error).message.split('\n')[0]}`
  }
}

/** One workerd process with a port for each module. */
export async function startWorkerd(modules: Record<string, string>) {
  const folder = await mkdtemp(join(tmpdir(), 'skep-workerd-'))
  const names = Object.keys(modules)
  const ports = await freePorts(names.length)
  for (const name of names) await writeFile(join(folder, `${name}.js`), modules[name]!)
  await writeFile(join(folder, 'config.capnp'), configOf(names, ports))
  const args = ['-c', String(SERVER_CORE), BINARY, 'serve', join(folder, 'config.capnp')]
  const child = spawn('taskset', args, { stdio: ['ignore', 'ignore', 'pipe'] })
  let output = ''
  child.stderr.on('data', (bytes: Buffer) => (output = (output + String(bytes)).slice(-2_000)))
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'exit')
      // One that runs an endless loop heeds nothing else.
      child.kill('SIGKILL')
      await ended
    }
    await rm(folder, { recursive: true, force: true })
  }
  const deadline = performance.now() + START_PATIENCE
  while ((await askText({ port: ports[0]!, host: 'workerd.localhost' }).catch(() => undefined)) === undefined) {
    if (child.exitCode !== null || performance.now() > deadline) {
      await stop()
      throw new Error(`workerd does not serve:\n${output}`)
    }
    await sleep(50)
  }
  return { pid: child.pid!, ports: Object.fromEntries(names.map((name, i) => [name, ports[i]!])), stop }
}

function configOf(names: string[], ports: number[]): string {
  const services = names.map((name) => `(name = "${name}", worker = .${name})`)
  const sockets = names.map((name, i) => `(name = "${name}", address = "127.0.0.1:${ports[i]}", http = (), service = "${name}")`)
  const workers = names.map(
    (name) =>
      `const ${name} :Workerd.Worker = (modules = [(name = "${name}.js", esModule = embed "${name}.js")], compatibilityDate = "2026-01-01");`,
  )
  return [
    'using Workerd = import "/workerd/workerd.capnp";',
    `const config :Workerd.Config = (services = [${services.join(', ')}], sockets = [${sockets.join(', ')}]);`,
    ...workers,
  ].join('\n')
}

/** Ports that nobody has at this moment. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, '127.0.0.1')
      await once(server, 'listening')
      return server
    }),
  )
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => once(server.close(), 'close')))
  return ports
}
