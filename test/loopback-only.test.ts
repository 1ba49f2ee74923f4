import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { noNamespace } from './namespace.ts'
import { skipUnless } from './services/require.ts'

const ROOT = join(import.meta.dirname, '..')

function guarded(...command: string[]): { status: number | null; text: string } {
  // Node's runner tells its children to report to it; and what a child is given must not hold it back.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  const args = ['--disable-warning=ExperimentalWarning', join(ROOT, 'test/loopback-only.ts'), ...command]
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: ROOT, env, encoding: 'utf8', timeout: 120_000 })
  return { status, text: stdout + stderr }
}

/** In a grandchild with an empty environment: no hook of Node's would be there. */
const started = (code: string) => [
  process.execPath,
  '-e',
  `require('child_process').execFileSync(process.execPath, ['-e', ${JSON.stringify(code)}], { env: {} })`,
]

suite('a run that may send to loopback only', { skip: skipUnless(noNamespace) }, () => {
  for (const [what, code] of [
    ['a connection', `require('net').connect(80, '192.0.2.1').on('error', () => {})`],
    ['a connection by IPv6', `require('net').connect(80, '2001:db8::1').on('error', () => {})`],
    ['a datagram', `const s = require('dgram').createSocket('udp4'); s.send('x', 53, '192.0.2.1', () => s.close())`],
    ['a look-up', `require('dns').lookup('nowhere.example', () => {})`],
  ] as const) {
    test(`${what} to elsewhere is found, whoever makes it`, () => {
      const { status, text } = guarded(...started(code))
      assert.match(text, /loopback-only: \d+ packets were meant/)
      assert.equal(status, 97)
    })
  }

  test('what stays on loopback passes, with the status of the command', () => {
    const code = `const s = require('net').createServer((c) => c.end()).listen(0, () =>
      require('net').connect(s.address().port, 'localhost').on('close', () => process.exit(0)).resume())`
    assert.deepEqual(guarded(...started(code)), { status: 0, text: '' })
    assert.equal(guarded(process.execPath, '-e', 'process.exit(3)').status, 3)
  })

  test('the tests of outbound requests, which have to do with every address there is, send nothing', () => {
    const files = ['connect', 'egress', 'fetch', 'network', 'operations', 'request'].map(
      (name) => `sandbox/operations/${name}.test.ts`,
    )
    const { status, text } = guarded(process.execPath, '--test', ...files)
    assert.equal(status, 0, text)
    assert.match(text, /pass \d\d/)
  })
})
