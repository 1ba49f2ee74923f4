#!/usr/bin/env node
import { styleText } from 'node:util'
import { SkepError } from '../../host/errors.ts'
import { nearest } from '../../host/nearest.ts'
import { parseTyped, plainOffTerminal, usage, UsageError } from './command.ts'
import type { Command } from './command.ts'
import { clean } from './output.ts'

/** Commands are loaded when they are called: `skep list` need not wait for esbuild. */
const COMMANDS: Record<string, () => Promise<{ default: Command }>> = {
  serve: () => import('./serve.ts'),
  deploy: () => import('./deploy.ts'),
  list: () => import('./list.ts'),
  show: () => import('./show.ts'),
  versions: () => import('./versions.ts'),
  traffic: () => import('./traffic.ts'),
  rollback: () => import('./rollback.ts'),
  delete: () => import('./delete.ts'),
  'route add': () => import('./route-add.ts'),
  'route remove': () => import('./route-remove.ts'),
  'route list': () => import('./route-list.ts'),
  invoke: () => import('./invoke.ts'),
  'quarantine list': () => import('./quarantine-list.ts'),
  'quarantine release': () => import('./quarantine-release.ts'),
  'token create': () => import('./token-create.ts'),
  'token list': () => import('./token-list.ts'),
  'token revoke': () => import('./token-revoke.ts'),
  status: () => import('./status.ts'),
  top: () => import('./top.ts'),
  config: () => import('./config.ts'),
}

async function main(typed: string[]): Promise<void> {
  if (typed.length === 0 || typed[0]!.startsWith('-') || typed[0] === 'help') return overview(typed)
  const name = [`${typed[0]} ${typed[1]}`, typed[0]!].find((name) => Object.hasOwn(COMMANDS, name))
  if (name === undefined) return noCommand(typed)
  const { default: command } = await COMMANDS[name]!()
  const rest = typed.slice(name.split(' ').length)
  const flags = rest.includes('--') ? rest.slice(0, rest.indexOf('--')) : rest
  if (flags.includes('--help') || flags.includes('-h')) return void process.stdout.write(await usage(command))
  try {
    await command.run(parseTyped(command, rest))
  } catch (error) {
    if (error instanceof UsageError) error.message += ` See \`skep ${name} --help\`.`
    throw error
  }
}

async function overview(typed: string[]): Promise<void> {
  if (typed[0] === '--version') {
    const { default: about } = await import('../../package.json', { with: { type: 'json' } })
    return void process.stdout.write(`${about.version}\n`)
  }
  const asked = ['help', '--help', '-h'].includes(typed[0] ?? '')
  if (typed.length > 0 && !asked) throw new UsageError(`${typed[0]} must come after a command. See \`skep --help\`.`)
  if (!asked) throw new UsageError('A command is missing. See `skep --help`.')
  await printOverview('')
}

async function noCommand(typed: string[]): Promise<void> {
  const group = `${typed[0]} `
  if (Object.keys(COMMANDS).some((name) => name.startsWith(group))) {
    if (typed[1] === undefined || typed[1] === '--help' || typed[1] === '-h') {
      if (typed[1] !== undefined) return printOverview(group)
      throw new UsageError(`\`skep ${typed[0]}\` needs a word more. See \`skep ${typed[0]} --help\`.`)
    }
  }
  const near = nearest(typed[0]!, Object.keys(COMMANDS)) ?? nearest(typed.slice(0, 2).join(' '), Object.keys(COMMANDS))
  throw new UsageError(
    `skep has no command ${JSON.stringify(typed.slice(0, 2).join(' '))}.${near === undefined ? ' See `skep --help`.' : ` Did you mean ${near}?`}`,
  )
}

async function printOverview(group: string): Promise<void> {
  const names = Object.keys(COMMANDS).filter((name) => name.startsWith(group))
  const width = Math.max(...names.map((name) => name.length))
  const lines = await Promise.all(
    names.map(async (name) => `  ${name.padEnd(width)}  ${(await COMMANDS[name]!()).default.description}`),
  )
  const head = styleText('bold', 'skep: a host for edge functions')
  process.stdout.write(
    plainOffTerminal(
      `${head}\n\nskep <command> [options]\n\n${lines.join('\n')}\n\nskep <command> --help tells more and gives an example.\n`,
    ),
  )
}

/** A SkepError and a UsageError say what to do; a stack is for what is our fault. */
function report(error: unknown): number {
  const label = styleText('red', 'error', { stream: process.stderr })
  if (!(error instanceof Error)) error = new Error(String(error))
  const { message, stack } = error as Error
  const known = error instanceof SkepError || error instanceof UsageError || (error as Error).constructor === Error
  const code = error instanceof SkepError ? ` (${error.code})` : ''
  process.stderr.write(`${label}${code}: ${clean(known ? message : (stack ?? message))}\n`)
  return error instanceof UsageError ? 2 : 1
}

// `skep list | head` closes the pipe early, which is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
})

try {
  await main(process.argv.slice(2))
} catch (error) {
  process.exitCode = report(error)
}
