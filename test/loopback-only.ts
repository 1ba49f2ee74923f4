import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { noNamespace, namespaceFlags } from './namespace.ts'
import { skipUnless } from './services/require.ts'

/**
 * `node test/loopback-only.ts COMMAND…` runs a command, with all that it starts, where there is no network but loopback,
 * and fails when anything tried to send a packet elsewhere: the kernel counts what it had no route for. Names are asked of
 * an address outside, so that a look-up counts, too.
 */

const SCRIPT = `
ip link set lo up || exit 125
mount --bind "$1" /etc/resolv.conf || exit 125
shift
"$@"
code=$?
left=$({ awk '$1 == "Ip:" && !n { for (i = 2; i <= NF; i++) if ($i == "OutNoRoutes") n = i; next } $1 == "Ip:" { print $n }' /proc/net/snmp
  awk '$1 == "Ip6OutNoRoutes" { print $2 }' /proc/net/snmp6; } | awk '{ sum += $1 } END { print sum + 0 }')
if [ "$left" != 0 ]; then
  echo "loopback-only: $left packets were meant for addresses that are not loopback" >&2
  exit 97
fi
exit $code
`

const command = process.argv.slice(2)
if (command.length === 0) {
  console.error('usage: node test/loopback-only.ts COMMAND…')
  process.exit(2)
}
const missing = skipUnless(noNamespace)
if (missing !== false) {
  console.error(`loopback-only: ${missing}; the command runs as it is`)
  process.exit(spawnSync(command[0]!, command.slice(1), { stdio: 'inherit' }).status ?? 1)
}
const folder = mkdtempSync(join(tmpdir(), 'skep-loopback-'))
const resolver = join(folder, 'resolv.conf')
writeFileSync(resolver, 'nameserver 203.0.113.53\noptions timeout:1 attempts:1\n')
const { status, error } = spawnSync('unshare', [...namespaceFlags!, '-m', 'sh', '-c', SCRIPT, 'sh', resolver, ...command], {
  stdio: 'inherit',
})
rmSync(folder, { recursive: true, force: true })
if (error !== undefined) throw error
process.exit(status ?? 1)
