import { API_ARGS, connect, functionPath, problemOf } from './client.ts'
import { defineCommand, UsageError } from './command.ts'
import { note, printJson } from './output.ts'

/** On answers that come from the function itself, whatever their status. */
const ANSWERED_BY = 'skep-function'

export default defineCommand({
  name: 'invoke',
  description: 'Sends one request through a function and prints what it answers.',
  example: `skep invoke hello --path /greet --method POST --data '{"name":"Ada"}' --header 'content-type: application/json'`,
  args: {
    name: { type: 'positional', description: 'The function.', required: true },
    path: { type: 'string', description: 'The path (default /).', valueHint: 'path' },
    method: { type: 'string', description: 'The method (default GET, with --data POST).', valueHint: 'method' },
    header: { type: 'string', description: 'A header, NAME: VALUE.', valueHint: 'header', multiple: true },
    version: { type: 'string', description: 'The version (default: what is deployed).', valueHint: 'id' },
    ...API_ARGS,
    // The contract gives this name to the body here; the host's folder is SKEP_DATA.
    data: { type: 'string', description: 'The body.', valueHint: 'text' },
  },
  async run(args) {
    const { data, path = '/', method = data === undefined ? 'GET' : 'POST' } = args
    const headers = Object.fromEntries(args.header.map(parseHeader))
    const client = await connect({ ...args, data: undefined })
    const response = await client.send(functionPath(args.name, '/invoke'), {
      method: 'POST',
      query: args.version === undefined ? {} : { version: args.version },
      json: { path, method, headers, ...(data === undefined ? {} : { data }) },
    })
    if (!response.headers.has(ANSWERED_BY)) throw await problemOf(response)
    if (args.json) {
      const body = await response.text()
      printJson({ status: response.status, headers: Object.fromEntries(response.headers), body })
    } else {
      for await (const chunk of response.body ?? []) process.stdout.write(chunk)
      if (process.stdout.isTTY) process.stdout.write('\n')
      if (!response.ok) note(`The function answered ${response.status}${codeOf(response)}.`)
    }
    if (response.status >= 500) process.exitCode = 1
  },
})

function codeOf(response: Response): string {
  const code = response.headers.get('skep-error')
  return code === null ? '' : ` (${code})`
}

function parseHeader(text: string): [string, string] {
  const colon = text.indexOf(':')
  if (colon < 1) throw new UsageError(`${JSON.stringify(text)} is not NAME: VALUE.`)
  return [text.slice(0, colon).trim(), text.slice(colon + 1).trim()]
}
