import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { bundle, closeBundler } from '../../bundler/bundle.ts'
import type { SkepError } from '../../host/errors.ts'
import { Emit, Submit } from '../../sandbox/protocol.ts'
import type { SandboxFactory } from '../../sandbox/sandbox.ts'
import { handler, Probe } from './probe.ts'
import type { ProbeOptions } from './probe.ts'

/** A sandbox starts, or says why not, and ends. */
export function lifeCases(factory: () => SandboxFactory): void {
  after(closeBundler)

  test('it is ready when the bundle has run, and says which handlers there are', async () => {
    const probe = new Probe(factory(), `({ default: { fetch() {}, scheduled() {} }, other: 1 })`)
    const report = await probe.sandbox.ready
    assert.deepEqual(report.handlers, ['fetch', 'scheduled'])
    assert.ok(report.cpuMs > 0)
    probe.sandbox.dispose()
  })

  const refusals: [string, string, RegExp, ProbeOptions?][] = [
    ['a syntax error', 'const = 1', /SyntaxError|Unexpected token/],
    ['a throw at the top level', `(() => { throw new RangeError('not today') })()`, /top level threw: .*not today/],
    ['something thrown that is no error', `(() => { throw 'words' })()`, /top level threw: words/],
    ['an endless loop', 'for (;;);', /top level used more than 50 ms/, { limits: { startMs: 50 } }],
    [
      'an endless chain of promises',
      `(async () => { for (;;) await 0 })(); ({ default: { fetch() {} } })`,
      /used more than 50 ms/,
      { limits: { startMs: 50 } },
    ],
    [
      'too much memory',
      'let all = []; for (;;) all = [all, {}, []]',
      /used more than 16 MB of memory/,
      { limits: { memoryMb: 16, startMs: 20_000 } },
    ],
    ['no default export', '({ other: 1 })', /no default export/],
    ['nothing at all', '', /no default export/],
    ['a default export of null', '({ default: null })', /is null/],
    ['a default export that is no object', '({ default: 3 })', /is a number/],
    ['a fetch that is no function', `({ default: { fetch: 'x' } })`, /fetch is not a function but string/],
    ['no handler', '({ default: {} })', /has no handler/],
    ['a top-level await that rejects', `Promise.reject(new Error('later'))`, /later/, { bundle: { async: true } }],
    [
      'a top-level await that rejects after a timer',
      `new Promise((_, no) => setTimeout(no, 5, new Error('later')))`,
      /later/,
      { bundle: { async: true } },
    ],
    [
      'a top-level await that never settles',
      'new Promise(() => {})',
      /did not settle within 50 ms/,
      { bundle: { async: true }, limits: { wallMs: 50 } },
    ],
    [
      'a loop after a top-level await',
      `new Promise((r) => setTimeout(r, 1)).then(() => { for (;;); })`,
      /used more than/,
      { bundle: { async: true }, limits: { startMs: 50 } },
    ],
    ['a missing module', `__skep_modules['a.wasm'].x`, /top level threw/],
    [
      'a broken wasm module',
      '({ default: { fetch() {} } })',
      /does not start/,
      { bundle: { modules: { 'a.wasm': new Uint8Array([1, 2, 3]) } } },
    ],
  ]
  for (const [what, code, message, options] of refusals) {
    test(`it is refused for ${what}`, async () => {
      const probe = new Probe(factory(), code, options)
      await assert.rejects(probe.sandbox.ready, (error: SkepError) => {
        assert.equal(error.code, 'start_failed')
        assert.match(error.message, message)
        return true
      })
      probe.sandbox.dispatch([Submit.scheduled, 1, 'id', '* * * * *', 0])
      assert.deepEqual(probe.failures, [], 'ended is not called')
    })
  }

  test('stacks name the author’s own lines', async () => {
    const source = `export default {\n  async fetch() {\n    await null\n    throw new Error('mine')\n  }\n}\n`
    const { bundle: made } = await bundle({ code: source })
    const probe = new Probe(factory(), made.code, { bundle: made })
    await probe.sandbox.ready
    const event = probe.send()
    await probe.done(event)
    const stack = probe.of(Emit.failed, event)[0]![4] as string
    assert.match(stack, /^Error: mine\n.*:4:11\)?/)
    assert.doesNotMatch(stack, /bundle\.js|skep\//)
    probe.sandbox.dispose()
  })

  test('a top-level await may use timers', async () => {
    const code = `(async () => { await new Promise((r) => setTimeout(r, 5)); return { default: { fetch: () => new Response('up') } } })()`
    const probe = new Probe(factory(), code, { bundle: { async: true } })
    await probe.sandbox.ready
    assert.equal(await probe.get(), 'up')
    probe.sandbox.dispose()
  })

  test('disposed of while it loads, it is refused; while it runs, nothing more is said', async () => {
    const loading = new Probe(factory(), 'new Promise(() => {})', { bundle: { async: true } })
    loading.sandbox.dispose()
    await assert.rejects(loading.sandbox.ready, { code: 'start_failed' })

    const running = new Probe(factory(), handler(`if (request.url.endsWith('/loop')) for (;;); return new Response('x')`))
    await running.sandbox.ready
    await running.get()
    const before = running.messages.length
    running.send('/loop')
    const other = new Probe(factory(), handler(`return new Response('other')`))
    await other.sandbox.ready
    running.sandbox.dispose()
    running.sandbox.dispose()
    assert.equal(await other.get(), 'other')
    assert.equal(running.messages.length, before)
    assert.deepEqual(running.failures, [])
    other.sandbox.dispose()
  })

  test('many sandboxes at once do not see each other', async () => {
    const probes = Array.from(
      { length: 8 },
      (_, i) =>
        new Probe(
          factory(),
          handler(`globalThis.n = (globalThis.n ?? ${i * 100}) + 1; return new Response(String(n) + env.NAME)`),
          { env: { NAME: `f${i}` } },
        ),
    )
    await Promise.all(probes.map((probe) => probe.sandbox.ready))
    for (const round of [1, 2]) {
      const answers = await Promise.all(probes.map((probe) => probe.get()))
      assert.deepEqual(
        answers,
        probes.map((_, i) => `${i * 100 + round}f${i}`),
      )
    }
    for (const probe of probes) probe.sandbox.dispose()
  })
}
