import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { describe, test } from 'node:test'
import { promisify } from 'node:util'
import { parseTyped, usage } from '../control-api/cli/command.ts'
import type { Command } from '../control-api/cli/command.ts'
import { fillSections, generateSections, loadCommands } from '../docs/generate.ts'
import { createHost } from '../host/index.ts'
import { SETTINGS } from '../host/load-config.ts'
import { eventually, get, temporaryFolder } from './served.ts'

const ROOT = join(import.meta.dirname, '..')
const MAIN = join(ROOT, 'control-api/cli/main.ts')
const PAGES = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'examples/README.md', 'test/README.md', ...inFolder('docs')]
const run = promisify(execFile)
const commands = await loadCommands()

interface Block {
  page: string
  line: number
  /** The words after the fence: `js run`. */
  info: string
  text: string
}

function inFolder(folder: string): string[] {
  return readdirSync(join(ROOT, folder))
    .filter((file) => file.endsWith('.md'))
    .map((file) => `${folder}/${file}`)
}

function read(page: string): string {
  return readFileSync(join(ROOT, page), 'utf8')
}

function blocks(page: string): Block[] {
  const text = read(page)
  return [...text.matchAll(/^```([^\n`]*)\n([\s\S]*?)^```$/gm)].map((match) => ({
    page,
    line: text.slice(0, match.index).split('\n').length,
    info: match[1]!,
    text: match[2]!,
  }))
}

const ALL_BLOCKS = PAGES.flatMap(blocks)

test('the tables of the reference are what the code has', async () => {
  const text = read('docs/reference.md')
  assert.equal(text, fillSections(text, await generateSections()), 'run: node docs/generate.ts')
})

test('the reference has every command, and every command has its help', async () => {
  const { stdout } = await run(process.execPath, [MAIN, '--help'])
  const listed = [...stdout.matchAll(/^ {2}(\w+(?: \w+)?) {2,}/gm)].map((match) => match[1]!)
  assert.deepEqual(listed.toSorted(), commands.map(({ name }) => name).toSorted())
  for (const command of commands) {
    const help = await usage(command)
    for (const name of Object.keys(command.args)) assert.match(help.toLowerCase(), new RegExp(`\\b${name}\\b`))
  }
})

describe('commands in the documents', () => {
  for (const page of PAGES) {
    const lines = [...blocks(page).filter(({ info }) => info === 'sh'), ...inlineCommands(page)]
    for (const { text, line } of lines) {
      for (const words of skepCommands(text)) {
        test(`${page}:${line}: skep ${words.join(' ')}`, () => checkCommand(words))
      }
    }
  }
})

test('variables named in the documents are settings, or the command’s own', () => {
  const known = [
    ...SETTINGS.map(({ variable }) => variable),
    'SKEP_API_URL',
    'SKEP_TOKEN',
    'SKEP_REQUIRE_SERVICES',
    'SKEP_UWS_PATCH',
  ]
  for (const page of PAGES) {
    const strange = [...read(page).matchAll(/SKEP_[A-Z0-9_]+\b(?!…)/g)]
      .map(([name]) => name)
      .filter((name) => !known.includes(name))
    assert.deepEqual(strange, [], page)
  }
})

test('links lead to files, and to headings that are there', () => {
  for (const page of PAGES) {
    for (const [, link] of read(page).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(link!)) continue
      const [path, anchor] = link!.split('#') as [string, string?]
      const target = path === '' ? join(ROOT, page) : join(ROOT, dirname(page), path)
      assert.ok(existsSync(target), `${page} links to ${link}`)
      if (anchor !== undefined) assert.ok(headings(readFileSync(target, 'utf8')).includes(anchor), `${page} links to ${link}`)
    }
  }
})

test('npm scripts named in the documents exist', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
  for (const page of PAGES) {
    for (const [, name = ''] of read(page).matchAll(/npm run (?:-s )?([a-z:]+)/g))
      assert.ok(name in scripts, `${page}: npm run ${name}`)
  }
})

describe('snippets of functions deploy', () => {
  const functions = ALL_BLOCKS.filter(({ info, text }) => info === 'ts' && text.includes('export default'))
  test('there are some', () => assert.ok(functions.length >= 3))
  test('and answer', async (t) => {
    // Whether they keep to the limits on a busy machine is not asked here.
    await using host = await createHost({ store: `file:${await temporaryFolder(t)}`, limits: { cpuMs: 5_000, startMs: 5_000 } })
    for (const [index, { page, line, text }] of functions.entries()) {
      await host.deploy(`snippet-${index}`, { code: text, hosts: [`snippet-${index}.localhost`] })
      const response = await host.fetch(`http://snippet-${index}.localhost/`)
      assert.equal(response.status, 200, `${page}:${line} ${response.headers.get('skep-error')}`)
      await response.text()
    }
  })
})

describe('snippets for the library', () => {
  const runnable = ALL_BLOCKS.filter(({ info }) => / (run|serve)$/.test(info))
  test('there are some, and none goes unmarked', () => {
    assert.ok(runnable.length >= 5)
    const unmarked = ALL_BLOCKS.filter((block) => block.text.includes("from 'skep'") && !runnable.includes(block))
    assert.deepEqual(unmarked, [])
  })
  for (const { page, line, info, text } of runnable) {
    test(`${page}:${line} ${info.split(' ')[1]}s`, async (t) => {
      const folder = await project(t)
      if (info.endsWith('run')) {
        await writeFile(join(folder, 'index.js'), text)
        const { stdout } = await run(process.execPath, ['--conditions=skep-source', 'index.js'], { cwd: folder })
        assert.match(stdout, /\S/)
        assert.doesNotMatch(stdout, /\b[45]\d\d\b/)
        return
      }
      const port = await freePort()
      assert.match(text, /\b3000\b/)
      await writeFile(join(folder, 'index.js'), text.replace('3000', String(port)))
      const child = spawn(process.execPath, ['--conditions=skep-source', 'index.js'], {
        cwd: folder,
        stdio: ['ignore', 'ignore', 'inherit'],
      })
      const ended = new Promise((resolve) => child.once('exit', resolve))
      t.after(async () => {
        child.kill('SIGKILL')
        await ended
      })
      const says = () => get(port, 'hello.localhost', '/', { method: 'POST', body: '{"a":1}' }).catch(() => undefined)
      await eventually('it answers', async () => (await says())?.text === 'Hello', 20_000)
    })
  }
})

/** A folder in which `skep` and the frameworks of the snippets can be imported. */
async function project(t: Parameters<typeof temporaryFolder>[0]): Promise<string> {
  const folder = realpathSync(await temporaryFolder(t))
  await mkdir(join(folder, 'node_modules'))
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }')
  await symlink(ROOT, join(folder, 'node_modules/skep'))
  for (const name of ['express', 'fastify']) await symlink(join(ROOT, 'node_modules', name), join(folder, 'node_modules', name))
  return folder
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })
}

/** `skep …` between backticks in running text; the reference's tables say them with their placeholders. */
function inlineCommands(page: string): { text: string; line: number }[] {
  if (page === 'docs/reference.md') return []
  const lines = read(page)
    .replace(/^```[\s\S]*?^```$/gm, (block) => block.replace(/[^\n]/g, ''))
    .split('\n')
  return lines.flatMap((text, index) => [...text.matchAll(/`([^`]*)`/g)].map((match) => ({ text: match[1]!, line: index + 1 })))
}

/** The words after each `skep` of a script, as a shell would split them. */
function skepCommands(text: string): string[][] {
  return text
    .replaceAll('npm run -s skep --', 'skep')
    .split('\n')
    .flatMap((line) => {
      const words = [...line.replace(/ #.*$/, '').matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(
        (match) => match[1] ?? match[2] ?? match[3]!,
      )
      const at = words.findIndex((word) => !/^\w+=/.test(word))
      return words[at] === 'skep' && words.length > at + 1 ? [words.slice(at + 1)] : []
    })
}

function checkCommand(words: string[]): void {
  if (['--help', '--version', '…'].includes(words[0]!)) return
  if (words[0] === 'COMMAND' && words[1] === '--help') return
  const command = commands
    .filter(({ name }) => name === words.slice(0, name.split(' ').length).join(' '))
    .reduce<Command | undefined>(
      (found, next) => (found === undefined || next.name.length > found.name.length ? next : found),
      undefined,
    )
  assert.ok(command !== undefined, `there is no such command: skep ${words.join(' ')}`)
  const rest = words.slice(command.name.split(' ').length)
  // A command's name alone stands for the command.
  if (rest.length > 0 && !rest.includes('--help')) parseTyped(command, rest)
}

/** As GitHub names them. */
function headings(text: string): string[] {
  const lines = [...text.matchAll(/^#+ (.*)$/gm)].map((match) => match[1]!)
  return lines.map((line) =>
    line
      .toLowerCase()
      .replace(/[^\w\s-]/g, '')
      .replaceAll(' ', '-'),
  )
}
