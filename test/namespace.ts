import { execFile, spawnSync } from 'node:child_process'
import { promisify } from 'node:util'

/**
 * A network namespace of its own, that has loopback and nothing else: what is sent there, whatever its address, reaches
 * nobody. Linux only, by root or where users may make namespaces.
 */
const WAYS = [['-n'], ['--user', '--map-root-user', '-n']]

export const namespaceFlags = process.platform === 'linux' ? WAYS.find((flags) => works(flags)) : undefined

/** For `skipUnless`: why there is none. */
export const noNamespace =
  namespaceFlags === undefined ? 'this system does not let the test make a network namespace (unshare, ip)' : undefined

function works(flags: string[]): boolean {
  return spawnSync('unshare', [...flags, 'ip', 'link', 'set', 'lo', 'up'], { stdio: 'ignore', timeout: 10_000 }).status === 0
}

/** Runs Node in one whose loopback also has these addresses; its output. */
export async function runInNamespace(addresses: string[], ...args: string[]): Promise<string> {
  const script = ['ip link set lo up', ...addresses.map((address) => `ip addr add ${address} dev lo`), 'exec "$@"'].join(' && ')
  const { stdout } = await promisify(execFile)(
    'unshare',
    [...namespaceFlags!, 'sh', '-c', script, 'sh', process.execPath, ...args],
    {
      timeout: 60_000,
      maxBuffer: 10_000_000,
    },
  )
  return stdout
}
