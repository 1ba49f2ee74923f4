import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import * as os from 'node:os'
import { join } from 'node:path'

/** What a result depends on beside the code. */
export function describeMachine() {
  const { dependencies } = JSON.parse(readFileSync(join(import.meta.dirname, '../package.json'), 'utf8')) as {
    dependencies: Record<string, string>
  }
  return {
    cpu: os.cpus()[0]?.model.trim() ?? 'unknown',
    cores: os.cpus().length,
    memoryMb: Math.round(os.totalmem() / 1_048_576),
    kernel: os.release(),
    load: os.loadavg().map((value) => Math.round(value * 100) / 100),
    node: process.version,
    isolatedVm: versionOf('isolated-vm'),
    uWebSockets: dependencies['uwebsockets.js'],
    commit: commit(),
  }
}

function versionOf(name: string): string {
  return (createRequire(import.meta.url)(`${name}/package.json`) as { version: string }).version
}

/** With a `+` when files under version control differ from it. */
function commit(): string {
  const git = (...args: string[]) => execFileSync('git', args, { cwd: import.meta.dirname, encoding: 'utf8' }).trim()
  try {
    const changed = git('status', '--porcelain', '--untracked-files=no') === '' ? '' : '+'
    return git('rev-parse', '--short', 'HEAD') + changed
  } catch {
    return 'unknown'
  }
}

/** Throws, naming it, when a command that a scenario needs is not there. */
export function requireCommand(command: string, hint: string): void {
  const folders = (process.env['PATH'] ?? '').split(':')
  const found = folders.some((folder) => {
    try {
      execFileSync('test', ['-x', join(folder, command)])
      return true
    } catch {
      return false
    }
  })
  if (!found) throw new Error(`${command} is not installed. ${hint}`)
}
