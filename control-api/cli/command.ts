import { parseArgs, stripVTControlCharacters } from 'node:util'
import { renderUsage } from 'citty'
import { suggestion } from '../../host/nearest.ts'

/** How a command describes itself, and how what was typed becomes its arguments. */

export interface FlagDef {
  type: 'string' | 'boolean'
  description: string
  valueHint?: string
  /** May be given many times. */
  multiple?: true
}
export interface PositionalDef {
  type: 'positional'
  description: string
  required: boolean
  /** Takes all that is left. */
  rest?: true
}
export type ArgDefs = Record<string, FlagDef | PositionalDef>

type Value<D extends FlagDef | PositionalDef> = D extends { multiple: true } | { rest: true }
  ? string[]
  : D extends { type: 'boolean' }
    ? boolean
    : D extends { required: true }
      ? string
      : string | undefined
export type Values<A extends ArgDefs> = { [K in keyof A]: Value<A[K]> }

export interface Command<A extends ArgDefs = ArgDefs> {
  /** As typed after `skep`: `route add`. */
  name: string
  description: string
  /** A line to copy. */
  example: string
  args: A
  run(args: Values<A>): Promise<void>
}

/** What was typed is no command: exit 2. */
export class UsageError extends Error {}

export function defineCommand<const A extends ArgDefs>(command: Command<A>): Command {
  return command as unknown as Command
}

/** Throws a UsageError for what the command does not know or misses. */
export function parseTyped<A extends ArgDefs>(command: Command<A>, typed: string[]): Values<A> {
  const flags = Object.entries(command.args).filter((entry): entry is [string, FlagDef] => entry[1].type !== 'positional')
  const positionals = Object.entries(command.args).filter(
    (entry): entry is [string, PositionalDef] => entry[1].type === 'positional',
  )
  const options = Object.fromEntries(flags.map(([name, { type, multiple }]) => [name, { type, multiple: multiple === true }]))
  const { values, positionals: words } = parse(typed, options)

  const args: Record<string, unknown> = {}
  for (const [name, { type, multiple }] of flags) {
    args[name] = values[name] ?? (multiple === true ? [] : type === 'boolean' ? false : undefined)
  }
  for (const [name, { required, rest }] of positionals) {
    const taken = rest === true ? words.splice(0) : words.shift()
    if (required && (taken === undefined || taken.length === 0)) throw new UsageError(`${name.toUpperCase()} is missing.`)
    args[name] = taken
  }
  if (words.length > 0) throw new UsageError(`${JSON.stringify(words[0])} is one argument too many.`)
  return args as Values<A>
}

function parse(typed: string[], options: Record<string, { type: 'string' | 'boolean'; multiple: boolean }>) {
  const { tokens } = parseArgs({ args: typed, options, strict: false, tokens: true })
  const unknown = tokens.find((token) => token.kind === 'option' && !(token.name in options))
  if (unknown?.kind === 'option') {
    const known = Object.keys(options)
    throw new UsageError(
      `${unknown.rawName} is no option of this command.${suggestion(unknown.name, known)
        .replace('mean ', 'mean --')
        .replace(/ Known:.*/, '')}`,
    )
  }
  try {
    return parseArgs({ args: typed, options, strict: true, allowPositionals: true })
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

/** The text of `--help`. */
export async function usage(command: Command): Promise<string> {
  const args = Object.fromEntries(
    Object.entries(command.args).map(([name, { description, ...arg }]) => {
      const many = 'multiple' in arg || 'rest' in arg ? ' Many may be given.' : ''
      return [name, { ...arg, description: description + many, required: 'required' in arg && arg.required }]
    }),
  )
  const text = await renderUsage({ meta: { name: `skep ${command.name}`, description: command.description }, args })
  return plainOffTerminal(`${text}\nExample: ${command.example}\n`)
}

export function plainOffTerminal(text: string): string {
  return process.stdout.isTTY ? text : stripVTControlCharacters(text)
}
