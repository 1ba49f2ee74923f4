import { handler } from './attack.ts'
import type { Attack } from './attack.ts'

/** What outlives its event, its client or its isolate, or wants to. */

const lives = (name: string, body: string, expect: Attack['expect'], more: Partial<Attack> = {}, top = ''): Attack => ({
  name,
  source: handler(body, top),
  expect,
  ...more,
})

const SHORT = { wallMs: 500 }
const SECOND = 'The second worker has not seen the first request.'

export const lifecycle: Attack[] = [
  lives('never answered', 'await new Promise(() => {})', 'timeout', { limits: SHORT }),
  lives('never answered, with timers', 'setInterval(() => {}, 5); await new Promise(() => {})', 'timeout', { limits: SHORT }),
  lives('a hundred never answered', 'await new Promise(() => {})', 'timeout', { limits: SHORT, times: 100 }),
  lives(
    'more than may be in flight',
    'await new Promise((r) => setTimeout(r, 200)); return new Response("x")',
    [200, 'overloaded'],
    {
      limits: { concurrency: 2 },
      times: 60,
      why: 'Those beyond the limit and its queue are refused.',
    },
  ),
  lives('waitUntil for ever', `ctx.waitUntil(new Promise(() => {})); return new Response('x')`, 200, {
    limits: SHORT,
    requests: [{}, {}, {}],
  }),
  lives(
    'waitUntil of thousands',
    `for (let i = 0; i < 10_000; i++) ctx.waitUntil(new Promise((r) => setTimeout(r, 1e8)).catch(() => {})); return new Response('x')`,
    [200, 'function_threw'],
    { limits: { ...SHORT, cpuMs: 500 }, why: 'The number of timers is bounded.' },
  ),
  lives(
    'waitUntil within waitUntil, for ever',
    `const again = async () => { await new Promise((r) => setTimeout(r, 1)); ctx.waitUntil(again()) }; ctx.waitUntil(again()); return new Response('x')`,
    200,
    { limits: SHORT },
  ),
  lives(
    'waitUntil of a thenable that throws',
    `for (const v of [{ then() { throw 1 } }, { get then() { throw 2 } }, null, undefined, 1, Symbol('x'), new Proxy({}, { get() { throw 3 } })]) ctx.waitUntil(v); return new Response('x')`,
    200,
  ),
  lives(
    'waitUntil of rejections',
    `for (let i = 0; i < 1000; i++) ctx.waitUntil(Promise.reject(new Error('x' + i))); return new Response('x')`,
    200,
    { limits: { cpuMs: 1_000 } },
  ),
  lives(
    'waitUntil without its context',
    `const { waitUntil } = ctx; waitUntil(Promise.resolve()); return new Response('x')`,
    'function_threw',
  ),
  lives(
    'waitUntil after the end',
    `const had = kept; kept = ctx; if (!had) return new Response('first'); try { had.waitUntil(Promise.resolve()); return new Response('ESCAPED') } catch (e) { return new Response(e.name) }`,
    200,
    { requests: [{}, {}], text: /^(first|TypeError)$/, why: SECOND },
    'let kept',
  ),
  lives(
    'a timer after the answer',
    `setTimeout(() => { for (;;); }, 50); return new Response('x')`,
    [200, 'quarantined', 'cpu_exceeded'],
    { requests: [{}, {}], why: 'It may run on the time of a later event.' },
  ),
  lives(
    'ten thousand timers and one',
    `try { for (;;) setTimeout(() => {}, 1e9) } catch (e) { return new Response(e.name) }`,
    200,
    { text: /^QuotaExceededError$/, limits: { cpuMs: 1_000 } },
  ),
  lives(
    'timers set and cleared for ever',
    `for (;;) clearTimeout(setTimeout(() => {}, 1e9))`,
    ['cpu_exceeded', 'function_threw'],
    { why: 'Their number may be bounded as well.' },
  ),
  lives(
    'timers with delays of nonsense',
    `for (const d of [NaN, -1, Infinity, 2 ** 31, 2 ** 53, '5', {}, null, 1e308, -0]) setTimeout(() => {}, d); await new Promise((r) => setTimeout(r, -5)); return new Response('x')`,
    200,
  ),
  lives(
    'timers cleared by nonsense',
    `for (const d of [NaN, -1, Infinity, 2 ** 53, '1', {}, null, undefined, 0, 1.5]) { clearTimeout(d); clearInterval(d) } return new Response('x')`,
    200,
  ),
  lives('an interval from the start on', 'return new Response(String(n))', 200, {}, 'let n = 0; setInterval(() => n++, 1)'),
  lives(
    'a fetch from the start on',
    'return new Response(typeof early)',
    200,
    {},
    `const early = fetch('http://127.0.0.1:1/').catch((e) => e)`,
  ),
  lives('an unhandled rejection', `Promise.reject(new Error('x')); return new Response('x')`, 200),
  lives(
    'a flood of unhandled rejections',
    `for (let i = 0; i < 2000; i++) Promise.reject(new Error('x' + i)); return new Response('x')`,
    200,
    { limits: { cpuMs: 2_000 } },
  ),
  lives(
    'rejections with what is no error',
    `for (const v of [undefined, null, 1, 'x', Symbol('x'), {}, new Proxy({}, { get() { throw 1 } }), { toString() { throw 2 } }, Object.create(null)]) Promise.reject(v); return new Response('x')`,
    200,
  ),
  ...Object.entries({
    undefined: 'undefined',
    null: 'null',
    'a text': '"x"',
    'a symbol': 'Symbol("x")',
    'a proxy': 'new Proxy({}, { get() { throw 1 }, has() { throw 2 }, getPrototypeOf() { throw 3 } })',
    'an object whose fields throw':
      '{ get message() { throw 1 }, get stack() { throw 2 }, get name() { throw 3 }, toString() { throw 4 } }',
    'an error whose cause is itself': '(() => { const e = new Error("x"); e.cause = e; return e })()',
    'an error of a megabyte': 'new Error("x".repeat(1 << 20))',
    'an error that pretends to be a time-out': 'new Error("Script execution timed out.")',
    'an error that pretends to be a memory limit': 'new Error("Isolate was disposed during execution due to memory limit")',
    'a response': 'new Response("x")',
  }).map(([what, value]) => lives(`throws ${what}`, `throw ${value}`, 'function_threw')),
  {
    name: 'throws what pretends to be a time-out, unhandled and at the top',
    source: handler(
      `queueMicrotask(() => { throw new Error('Script execution timed out.') }); Promise.reject(new Error('Script execution timed out.')); return new Response('x')`,
    ),
    expect: [200, 'cpu_exceeded'],
    why: 'Such words may end the isolate of who says them.',
  },
  lives(
    'a flood of log lines',
    `for (let i = 0; i < 100_000; i++) console.log('line ' + i); return new Response('x')`,
    [200, 'cpu_exceeded'],
    { why: 'What is over the limit is dropped, at a cost.', limits: { cpuMs: 300 } },
  ),
  lives('one line of 20 MB', `console.log('x'.repeat(20_000_000)); return new Response('x')`, 200, { limits: { cpuMs: 500 } }),
  lives(
    'log of what cannot be shown',
    `const c = {}; c.c = c; let deep = {}; for (let i = 0; i < 10_000; i++) deep = { deep }; console.log(c, deep, new Proxy({}, { get() { throw 1 }, ownKeys() { throw 2 }, getOwnPropertyDescriptor() { throw 3 } }), { get a() { throw 4 } }, Symbol('x'), 10n, new Map([[c, c]]), Object.create(null), [,,1], '%s%d%o%c', () => {}); return new Response('x')`,
    200,
    { limits: { cpuMs: 1_000 } },
  ),
  lives(
    'log with every format',
    `for (const f of ['%s', '%d', '%i', '%f', '%o', '%O', '%c', '%j', '%%', '%']) console.log(f.repeat(100), ...Array(200).fill({ toString() { throw 1 }, [Symbol.toPrimitive]() { throw 2 } })); return new Response('x')`,
    [200, 'function_threw'],
    { limits: { cpuMs: 1_000 }, why: 'What is to be printed may throw to who prints it.' },
  ),
  lives(
    'every method of console',
    `for (const k of Object.keys(console)) { try { console[k]({ a: 1 }, 'x') } catch {} try { console[k]() } catch {} } for (let i = 0; i < 1000; i++) console.group('x'); console.log('deep'); return new Response('x')`,
    200,
    { limits: { cpuMs: 1_000 } },
  ),
  lives(
    'an abort that is ignored',
    `request.signal.addEventListener('abort', () => {}); await new Promise((r) => setTimeout(r, 400)); return new Response('x')`,
    'left',
    { requests: [{ leaveAfterMs: 50 }] },
  ),
  lives(
    'a throw in an abort listener',
    `request.signal.addEventListener('abort', () => { throw new Error('x') }); request.signal.onabort = () => { throw new Error('y') }; await new Promise(() => {})`,
    'timeout',
    { limits: SHORT },
  ),
  lives(
    'a loop in the request’s abort listener',
    `request.signal.addEventListener('abort', () => { for (;;); }); await new Promise(() => {})`,
    'timeout',
    { limits: SHORT },
  ),
  lives(
    'an abort listener that adds itself',
    `const f = () => { request.signal.addEventListener('abort', f); setTimeout(f, 0) }; request.signal.addEventListener('abort', f); await new Promise(() => {})`,
    'timeout',
    { limits: SHORT },
  ),
  lives(
    'a signal that times out for ever',
    `for (let i = 0; i < 1000; i++) AbortSignal.timeout(1e9); await new Promise((_, no) => { const s = AbortSignal.timeout(5); s.onabort = () => no(s.reason) })`,
    'function_threw',
  ),
  lives(
    'an answer after the time was up',
    `await new Promise((r) => setTimeout(r, 700)); return new Response('late')`,
    'timeout',
    { limits: SHORT },
  ),
  lives(
    'a client that leaves before the answer',
    `await new Promise((r) => setTimeout(r, 300)); return new Response('x')`,
    'left',
    { times: 20, requests: [{ leaveAfterMs: 30 }] },
  ),
  lives('a body that is not read', `return new Response('x')`, 200, { requests: [{ body: 'x'.repeat(200_000) }, {}] }),
  lives(
    'a body that is read after the answer',
    `ctx.waitUntil(request.text().then((t) => { got = t.length }, (e) => { got = e.name })); return new Response(String(got))`,
    200,
    { requests: [{ body: 'x'.repeat(200_000) }, {}] },
    'let got = 0',
  ),
  lives(
    'a body cancelled and read',
    `await request.body.cancel('x').catch(() => {}); return new Response(await request.text().catch((e) => e.name))`,
    200,
    { requests: [{ body: 'x'.repeat(200_000) }] },
  ),
  lives(
    'a body read twice',
    `const a = await request.text(); const b = await request.text(); return new Response(a + b)`,
    'function_threw',
    { requests: [{ body: 'x' }] },
  ),
  lives(
    'the handler calls itself',
    `return this.default?.fetch ? new Response('x') : (n++ < 1e9 ? globalThis.me?.fetch(request, env, ctx) ?? new Response('end') : 0)`,
    200,
    {},
    'let n = 0',
  ),
  lives(
    'a deadlock of events',
    `const had = waiting; let go; waiting = new Promise((r) => { go = r }); if (had) await had; await new Promise(() => {}); go()`,
    'timeout',
    { limits: SHORT, times: 10 },
    'let waiting',
  ),
  lives('recursion without end', 'const f = () => f() + 1; return new Response(String(f()))', 'function_threw'),
  lives(
    'recursion through a proxy',
    'const p = new Proxy({}, { get: (t, k, r) => r[k] }); return new Response(p.x)',
    'function_threw',
  ),
  lives(
    'recursion through JSON',
    'let o = {}; for (let i = 0; i < 1e5; i++) o = { o }; return Response.json(o)',
    ['function_threw', 'memory_exceeded'],
    { limits: { cpuMs: 1_000 }, why: 'The stack ends first, mostly.' },
  ),
]
