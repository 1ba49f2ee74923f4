import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { noNamespace, runInNamespace } from './namespace.ts'
import { skipUnless } from './services/require.ts'

const CHILD = join(import.meta.dirname, 'sandbox/outbound.child.ts')

/** Each of them answers in the namespace: the last but one as an address of this machine that is a public one elsewhere. */
const FORBIDDEN =
  `127.0.0.1 2130706433 0x7f.1 0177.0.0.1 127.1 0 0.0.0.0 localhost a.localhost [::1] [::] [::ffff:127.0.0.1] [::ffff:7f00:1] 10.0.0.1 167772161
  169.254.169.254 0xa9fea9fe [::ffff:a9fe:a9fe] [fd00:ec2::254] 192.168.1.1 100.64.0.1 198.18.0.1 １２７.0.0.1 93.184.216.34 [2606:4700::1]`.split(
    /\s+/,
  )
const ADDRESSES =
  '10.0.0.1/8 169.254.169.254/16 192.168.1.1/24 100.64.0.1/10 198.18.0.1/15 93.184.216.34/32 fd00:ec2::254/64 2606:4700::1/64'

test(
  'where forbidden addresses answer, a function reaches none of them, in any notation',
  { skip: skipUnless(noNamespace), timeout: 120_000 },
  async () => {
    const allowed = ['127.0.0.9', '0x7f000009']
    const output = await runInNamespace(
      ADDRESSES.split(' '),
      '--no-node-snapshot',
      '--disable-warning=ExperimentalWarning',
      CHILD,
      JSON.stringify([...FORBIDDEN, '93.184.216.35', ...allowed]),
    )
    const { results, reached } = JSON.parse(output.trim().split('\n').at(-1)!) as { results: string[]; reached: string[] }
    FORBIDDEN.forEach((host, i) => assert.match(results[i]!, /refused: .* is not a public address/, host))
    assert.match(results[FORBIDDEN.length]!, /ENETUNREACH/, 'a public address is tried, and nobody is there')
    assert.deepEqual(results.slice(-2), ['ok', 'ok'])
    assert.deepEqual(new Set(reached), new Set(['::ffff:127.0.0.9']))
  },
)
