/** Loses an isolate inline: V8 asks for one block that is too large while a Map grows. Prints what the host hears, as JSON. */
import type { Taint } from '../../sandbox/sandbox.ts'
import { Emit } from '../../sandbox/protocol.ts'
import { createInlineFactory } from '../../sandbox/inline.ts'
import { handler, Probe } from './probe.ts'

const tainted: Taint[] = []
const factory = await createInlineFactory({ egress: { allow: [], deny: [] }, tainted: (taint) => tainted.push(taint) })
const other = new Probe(factory, handler(`return new Response('still here')`))
await other.sandbox.ready
let code = ''
// V8 now and then stops such code in good time, or finds the Map too large: what happens when it does not is what this is for.
while (tainted.length === 0) {
  const lost = new Probe(factory, handler('const map = new Map(); for (let i = 0; ; i++) map.set(i, i)'), {
    limits: { memoryMb: 64, cpuMs: 8_000 },
  })
  await lost.sandbox.ready
  const event = lost.send()
  await lost.until(() => lost.failures.length > 0 || lost.of(Emit.done, event).length > 0)
  code = lost.failures[0]?.code ?? ''
  lost.sandbox.dispose()
}
const after = new Probe(factory, handler(`return new Response('new ones too')`))
await after.sandbox.ready
console.log(
  JSON.stringify({
    code,
    answers: [await other.get(), await after.get()],
    tainted: tainted.map(({ name, version, kind }) => [name, version, kind]),
  }),
)
// An ordinary exit waits for the parked thread for ever.
process.kill(process.pid, 'SIGKILL')
