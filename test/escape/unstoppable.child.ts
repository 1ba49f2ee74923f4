/**
 * isolated-vm reads several properties of what was thrown, and V8 stops one loop for a disposed isolate: a proxy that loops
 * for each is not stopped. Run on its own: only SIGKILL ends a process with such a thread.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { createInlineFactory } from '../../sandbox/inline.ts'
import { handler, Probe } from '../sandbox/probe.ts'

const delay = monitorEventLoopDelay({ resolution: 5 })
delay.enable()
const done = Promise.withResolvers<void>()
let tainted = 0
const factory = await createInlineFactory({
  egress: { allow: [], deny: [] },
  tainted: () => {
    if (++tainted === 2) done.resolve()
  },
})
const limits = { cpuMs: 60, startMs: 60 }
const neighbour = new Probe(factory, handler(`return new Response('still here')`))
await neighbour.sandbox.ready
const rejects = new Probe(factory, handler(`Promise.reject(new Proxy({}, { get() { for (;;); } })); return new Response('x')`), {
  limits,
})
await rejects.sandbox.ready
rejects.send()
const codes = [(await rejects.failure()).code as string]
const throws = new Probe(factory, handler('', `throw new Proxy({}, { get() { for (;;); } })`), { limits })
codes.push(
  await throws.sandbox.ready.then(
    () => 'started',
    (error: { code: string }) => error.code,
  ),
)
await done.promise
const answers = await neighbour.get()
process.stdout.write(JSON.stringify({ codes, tainted, answers, heldUpMs: delay.max / 1e6 }), () =>
  process.kill(process.pid, 'SIGKILL'),
)
