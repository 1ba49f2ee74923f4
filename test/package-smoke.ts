import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Installs the packed package in an empty project, without install scripts, and uses library and command as a stranger would. */
const root = join(import.meta.dirname, '..')
const folder = mkdtempSync(join(tmpdir(), 'skep-package-'))
const run = (command: string, args: string[]) =>
  execFileSync(command, args, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })

try {
  execFileSync('npm', ['pack', '--silent', '--pack-destination', folder], { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] })
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz'))!
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'stranger', private: true, type: 'module' }))
  run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', '--prefer-offline', `./${tarball}`])
  const heavy = readdirSync(join(folder, 'node_modules')).filter(
    (name) => name.startsWith('node-linux') || name.startsWith('node-bin'),
  )
  if (heavy.length > 0) throw new Error(`The published package installs a Node of its own: ${heavy.join(', ')}`)
  writeFileSync(
    join(folder, 'try.js'),
    `import { createHost } from 'skep'
    await using host = await createHost({ store: 'file:./store' })
    await host.deploy('hello', { code: 'export default { fetch: () => new Response("packed") }', hosts: ['hello.localhost'] })
    const response = await host.fetch('http://hello.localhost/')
    console.log(response.status, await response.text())`,
  )
  const said = run(process.execPath, ['try.js']).trim()
  if (said !== '200 packed') throw new Error(`The library of the packed package answered: ${said}`)
  const help = run(process.execPath, ['node_modules/skep/dist/control-api/cli/main.js', '--help'])
  if (!help.includes('serve')) throw new Error(`The command of the packed package said: ${help}`)
  console.log('The packed package works: library and command.')
} finally {
  rmSync(folder, { recursive: true, force: true })
}
