import assert from 'node:assert/strict'
import { createInlineFactory } from '../../sandbox/inline.ts'
import { handler, Probe } from '../sandbox/probe.ts'
import type { Cycler } from './cycles.ts'

/** Ways for an isolate to live and end. */
const HELLO = handler(`return new Response('hello ' + request.url)`)
const STREAM = handler(`const bytes = new Uint8Array(20_000).fill(65)
  return new Response(new ReadableStream({ pull(c) { c.enqueue(bytes); if (++this.n === 10) c.close() }, n: 0 }))`)
const TIMERS = handler(`setInterval(() => {}, 5); setTimeout(() => {}, 60_000)
  await new Promise((resolve) => setTimeout(resolve, 1)); return new Response(await request.text())`)
const HANGING = handler(`setInterval(() => {}, 5); await new Promise(() => {})`)
const SPINS = handler('for (;;);')
const THROWS = 'throw new Error("at the top")'
const GROWS = handler('const all = []; for (;;) all.push(new Array(10_000).fill(all.length))')

export async function throughSandbox(): Promise<Cycler> {
  const factory = await createInlineFactory({
    egress: { allow: [], deny: [] },
    tainted: (taint) => {
      throw new Error(`An isolate was lost: ${JSON.stringify(taint)}`)
    },
  })
  const started = async (code: string, limits: { cpuMs?: number; memoryMb?: number } = {}) => {
    const probe = new Probe(factory, code, { limits })
    await probe.sandbox.ready
    return probe
  }
  const kinds: ((index: number) => Promise<Probe | undefined>)[] = [
    async () => {
      const probe = await started(HELLO)
      assert.equal(await probe.get('/x'), 'hello http://function.test/x')
      return probe
    },
    async () => {
      const probe = await started(STREAM)
      assert.equal((await probe.get()).length, 200_000)
      return probe
    },
    async () => {
      const probe = await started(TIMERS)
      const body = 'b'.repeat(10_000)
      assert.equal(await probe.get('/', { body }), body)
      return probe
    },
    // Its event never ends.
    async () => {
      const probe = await started(HANGING)
      probe.send()
      await probe.until(() => probe.reports.length > 0)
      return probe
    },
    // Its isolate goes before it has started.
    async () => {
      const probe = new Probe(factory, HELLO)
      probe.sandbox.dispose()
      await assert.rejects(probe.sandbox.ready)
      return undefined
    },
    async () => {
      await assert.rejects(new Probe(factory, THROWS).sandbox.ready, { code: 'start_failed' })
      return undefined
    },
  ]
  return {
    async cycle(index) {
      if (index % 100 === 50) return offend(await started(SPINS, { cpuMs: 5 }), 'cpu_exceeded')
      if (index % 100 === 99) return offend(await started(GROWS, { memoryMb: 16, cpuMs: 5_000 }), 'memory_exceeded')
      const probe = await kinds[index % kinds.length]!(index)
      probe?.sandbox.dispose()
    },
    close: () => factory.close(),
  }
}

async function offend(probe: Probe, code: string): Promise<void> {
  probe.send()
  assert.equal((await probe.failure()).code, code)
}
