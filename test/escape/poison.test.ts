import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { createInlineFactory } from '../../sandbox/inline.ts'
import { loadPrelude } from '../../sandbox/prelude.ts'
import { Emit } from '../../sandbox/protocol.ts'
import type { SandboxFactory } from '../../sandbox/sandbox.ts'
import { handler, Probe } from '../sandbox/probe.ts'

const top = readFileSync(`${import.meta.dirname}/poison.guest.js`, 'utf8')
const code = handler(
  `
  const path = pathOf(request)
  if (startsWith(path, '/list')) return new Response(stringify(list(JSON.parse(await request.text()))))
  if (startsWith(path, '/restore')) { restore(); return new Response('restored') }
  if (startsWith(path, '/poison/')) poison(numberIn(path), path[path.length - 1] === 'd' ? 'odd' : 'throws')
  await use(request, ctx)
  return answer(path)`,
  top,
)

/** Names of members that the prelude reads or writes: what a setter or getter on `Object.prototype` could meet. */
async function memberNames(): Promise<string[]> {
  const { code: prelude } = await loadPrelude()
  const names = new Set(['0', '1', 'then', 'get', 'set', 'value', 'writable', 'done', 'constructor'])
  for (const [, name] of prelude.matchAll(/[.{,]([a-zA-Z_$][\w$]*)/g)) if (name!.length > 1) names.add(name!)
  return [...names]
}

/**
 * With these, the tenant's own stream swallows what it is given, and its answer never ends: it has its wall time. Streams are
 * objects of its realm, and the prelude keeps nothing of the host's in them.
 */
const BREAKS_ITS_OWN_STREAM =
  /^(\.apply|\.call|ReadableStreamDefaultController\.(close|enqueue)|Object\.prototype\._(size|state|started|pullAlgorithm) \(new\))$/

async function within<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, ms, undefined)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

async function start(factory: SandboxFactory, names: string[]): Promise<{ probe: Probe; spots: string[] }> {
  const probe = new Probe(factory, code, { limits: { cpuMs: 10_000, startMs: 10_000, wallMs: 600_000, subrequests: 100_000 } })
  await probe.sandbox.ready
  return { probe, spots: JSON.parse(await probe.get('/list', { body: JSON.stringify(names) })) as string[] }
}

/** Exactly one answer, nothing after `done`, and nothing about an event that there is not. */
function checkMessages(probe: Probe, last: number): string {
  const state = new Map<number, string>()
  for (const [type, event] of probe.messages as [number, number][]) {
    if (type === Emit.log) continue
    if (event > last || event < 1) return `a message ${type} for event ${event}`
    const before = state.get(event) ?? ''
    if (before.endsWith('d')) return `a message ${type} after event ${event} was done`
    if (type === Emit.response || type === Emit.head || type === Emit.failed) {
      if (/[rhf]/.test(before)) return `two answers to event ${event}`
      state.set(event, `${before}r`)
    } else if (type === Emit.done) state.set(event, `${before}d`)
  }
  return ''
}

for (const mode of ['throws', 'odd']) {
  test(`the prelude goes on whatever a tenant replaces: ${mode}`, { timeout: 120_000 }, async (context) => {
    const factory = await createInlineFactory({
      egress: { allow: [], deny: [] },
      tainted: (taint) => assert.fail(JSON.stringify(taint)),
    })
    const names = await memberNames()
    let { probe, spots } = await start(factory, names)
    const problems: string[] = []
    let hung = 0
    for (let index = 0; index < spots.length; index++) {
      const what = `${spots[index]}`
      const events = ['/poison/', '/use', '/stream', '/throw'].map((path) =>
        probe.send(path === '/poison/' ? `${path}${index}/${mode}` : path, { body: 'body', headers: ['a', '1'] }),
      )
      for (const event of events) void probe.answer(event).catch(() => {})
      const failed = probe.failure()
      const done = await within(Promise.race([Promise.all(events.map((event) => probe.done(event))), failed]), 400)
      if (done === undefined) hung++
      const restored = probe.send('/restore')
      await within(Promise.race([probe.answer(restored).catch(() => {}), failed]), 2_000)
      const clean = probe.send('/stream', { body: 'body' })
      const answer = await within(Promise.race([probe.answer(clean).catch((error: Error) => error.message), failed]), 2_000)
      const body = (answer as { body?: string } | undefined)?.body
      const problem = checkMessages(probe, clean)
      if (probe.failures.length > 0) problems.push(`${what}: ${probe.failures[0]!.code} ${probe.failures[0]!.message}`)
      else if (body !== 'partpartpart') problems.push(`${what}: afterwards ${JSON.stringify(answer)}`)
      else if (problem !== '') problems.push(`${what}: ${problem}`)
      else if (done === undefined && !BREAKS_ITS_OWN_STREAM.test(what)) problems.push(`${what}: hangs`)
      probe.messages.length = 0
      if (probe.failures.length > 0 || body !== 'partpartpart' || index % 200 === 199 || done === undefined) {
        probe.sandbox.dispose()
        probe = (await start(factory, names)).probe
      }
    }
    context.diagnostic(`${spots.length} properties, ${hung} left an event open`)
    assert.deepEqual(problems, [])
    assert.ok(spots.length > 2_000)
    await factory.close()
  })
}
