import { createInterface } from 'node:readline/promises'
import { API_ARGS, connect, functionPath } from './client.ts'
import { defineCommand, UsageError } from './command.ts'
import { note, print, printJson } from './output.ts'

export default defineCommand({
  name: 'delete',
  description: 'Deletes a function, its versions and its routes.',
  example: 'skep delete hello --yes',
  args: {
    name: { type: 'positional', description: 'The function.', required: true },
    yes: { type: 'boolean', description: 'Does not ask. Needed where there is no terminal to ask on.' },
    ...API_ARGS,
  },
  async run(args) {
    if (!args.yes && !(await confirmed(`Delete ${args.name}, its versions and its routes?`))) return note('Nothing was deleted.')
    await (await connect(args)).call(functionPath(args.name), { method: 'DELETE' })
    if (args.json) return printJson({ deleted: args.name })
    print(`${args.name} is deleted.`)
  },
})

async function confirmed(question: string): Promise<boolean> {
  if (!process.stdin.isTTY) throw new UsageError('There is no terminal to ask on. Give --yes to delete.')
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return /^y(es)?$/i.test((await lines.question(`${question} [y/N] `)).trim())
  } finally {
    lines.close()
  }
}
