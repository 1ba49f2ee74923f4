import { execFile } from 'node:child_process'
import { join, relative } from 'node:path'
import { promisify } from 'node:util'
import { serve } from '../control-api/serve.ts'
import { loadConfig } from '../host/load-config.ts'

/**
 * `npm start`: a host on the embedded default with the functions of examples/skep.yaml deployed. Settings come from the
 * environment (`SKEP_PORT=9000 npm start`) and skep.host.yaml, as for `skep serve`.
 */
const root = join(import.meta.dirname, '..')
const load = () => loadConfig({ env: process.env, cwd: root })

async function main(): Promise<void> {
  const { config } = await load()
  const served = await serve({ config, reload: async () => (await load()).config })
  const api = `http://127.0.0.1:${served.apiPort}`
  const cli = join(root, 'control-api/cli/main.ts')
  const project = join(import.meta.dirname, 'skep.yaml')
  const { stdout } = await promisify(execFile)(process.execPath, [
    cli,
    'deploy',
    project,
    '--json',
    '--api',
    api,
    '--data',
    config.data,
  ])
  const functions = JSON.parse(stdout) as { name: string; urls: string[] }[]
  console.log('\nFunctions:')
  for (const { name, urls } of functions) console.log(`  ${name.padEnd(10)} ${urls.join(' ')}`)
  console.log(`\nTry:\n  curl http://hello.localhost:${served.dataPort}/`)
  console.log(`\nControl API: ${api}   (admin token: ${relative(root, join(config.data, 'admin-token'))})`)
  console.log('Ctrl-C drains and stops.\n')
  await served.closed
}

main().catch((error: unknown) => {
  console.error(`skep: ${error instanceof Error ? error.message : String(error)}`)
  process.exit(1)
})
