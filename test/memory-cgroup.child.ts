/** A host with two functions, each in a cell with a small group: one takes more than that may hold. Prints what came of it. */
import { readdirSync } from 'node:fs'
import { ConductBook } from '../host/conduct-book.ts'
import { createLog } from '../host/log.ts'
import { MemoryGroups } from '../host/memory-cgroup.ts'
import { PlacedFactory } from '../host/placed-factory.ts'
import type { SandboxFactory } from '../sandbox/sandbox.ts'
import { handler, Probe } from './sandbox/probe.ts'
import { eventually } from './served.ts'

const MB = 1_048_576
const LIMIT_MB = 300
const log = await createLog({ level: 'info', pretty: false })
const groups = MemoryGroups.open(LIMIT_MB * MB, { log })
// The log has said why.
if (groups === undefined) process.exit(0)

const { folder } = groups.settings
const own = () => readdirSync(folder).filter((name) => name.startsWith(`skep-${process.pid}-`)).length
const book = new ConductBook({ probation: { events: 0, seconds: 0 }, quarantine: { seconds: 10, mostSeconds: 60 } })
const placed = new PlacedFactory({ placement: 'solo', egress: { allow: [], deny: [] }, log, conduct: book, groups })
const named = (name: string): SandboxFactory => ({
  placement: 'cell',
  create: (spec, observer) => placed.create({ ...spec, name }, observer),
  close: () => placed.close(),
})
// Pieces, as a single large one would be refused by V8 before the kernel has seen any of it.
const hoard = `globalThis.held = []
  for (let at = 0; at < ${(2 * LIMIT_MB) / 8}; at++) held.push(new Uint8Array(${8 * MB}).fill(at))
  return new Response('held')`
const code = handler(`if (request.url.endsWith('/hoard')) { ${hoard} } return new Response('up')`)
const limits = { memoryMb: 1_024, cpuMs: 60_000 }
const greedy = new Probe(named('test/greedy'), code, { limits })
const other = new Probe(named('test/other'), code, { limits })
await Promise.all([greedy.sandbox.ready, other.sandbox.ready])
const before = own()
greedy.send('/hoard')
const { code: failure, how } = await greedy.failure()
const { body } = await other.answer(other.send('/'))
await eventually('the group of the lost cell is gone', async () => own() === 1)
const [record] = book.recordsOf('test/greedy')
await placed.close()
console.log(JSON.stringify({ before, failure, how, state: record?.state, counts: record?.counts, other: body, left: own() }))
