import { handler } from './attack.ts'
import type { Attack } from './attack.ts'

/** Answers that are none, lie, or do not end. */

const answers = (name: string, body: string, expect: Attack['expect'], more: Partial<Attack> = {}): Attack => ({
  name,
  source: handler(body),
  expect,
  ...more,
})

const threw = (name: string, body: string) => answers(name, body, 'function_threw')
/** An answer that fails before its first chunk: its head has not left, and the connection is closed without a word. */
const BROKEN = ['cut', 'closed', 'function_threw', 'bad_response']
const UNSENT = 'The head may leave with the first chunk only.'
const encode = `const encode = (s) => new TextEncoder().encode(s);`

export const response: Attack[] = [
  threw('status 0', `return new Response('', { status: 0 })`),
  threw('status 101', `return new Response('', { status: 101 })`),
  threw('status 103', `return new Response('', { status: 103 })`),
  threw('status 600', `return new Response('', { status: 600 })`),
  threw('status NaN', `return new Response('', { status: NaN })`),
  threw('a body for 204', `return new Response('x', { status: 204 })`),
  threw('a line break in a field', `return new Response('', { headers: { a: 'b\\r\\nset-cookie: c=d' } })`),
  threw('a line break in a field’s name', `return new Response('', { headers: { 'a\\r\\nb': 'c' } })`),
  threw('a null in a field', `return new Response('', { headers: { a: 'b\\0c' } })`),
  threw('a line break in the status text', `return new Response('', { statusText: 'OK\\r\\nx: y' })`),
  threw('an append of a line break', `const r = new Response(''); r.headers.append('set-cookie', 'a=b\\n\\nbody'); return r`),
  answers('a redirect to a line break', `return Response.redirect('http://a.test/\\r\\nx: y')`, 302),
  answers('Response.error()', 'return Response.error()', 'bad_response'),
  answers(
    'thousands of fields',
    `return new Response('', { headers: Array.from({ length: 20_000 }, (_, i) => ['x-' + i, 'y'.repeat(20)]) })`,
    'bad_response',
    { limits: { cpuMs: 500 } },
  ),
  answers('one field of a megabyte', `return new Response('', { headers: { a: 'x'.repeat(1 << 20) } })`, 'bad_response'),
  answers(
    'a flood of cookies',
    `const r = new Response('x'); for (let i = 0; i < 10_000; i++) r.headers.append('set-cookie', 'a' + i + '=' + 'b'.repeat(50)); return r`,
    'bad_response',
    { limits: { cpuMs: 500 } },
  ),
  answers(
    'as many cookies as fit',
    `const r = new Response('x'); for (let i = 0; i < 500; i++) r.headers.append('set-cookie', 'a' + i + '=b'); return r`,
    200,
    {
      limits: { cpuMs: 500 },
      run: async (scene, host) => {
        const answer = await scene.send(host)
        // node:http, the client here, reads no more than 16 kB of fields.
        const cookies = answer.headers.filter(([name]) => name === 'set-cookie').length
        return answer.outcome === 200 && cookies === 500 ? '' : `${answer.outcome} with ${cookies} cookies`
      },
    },
  ),
  answers('a length that is too small', `return new Response('whole', { headers: { 'content-length': '1' } })`, 200, {
    text: /^whole$/,
  }),
  answers('a length that is too large', `return new Response('whole', { headers: { 'content-length': '1000000' } })`, 200, {
    text: /^whole$/,
  }),
  answers(
    'two lengths',
    `const r = new Response('whole'); r.headers.append('content-length', '1'); r.headers.append('content-length', '5'); return r`,
    200,
    { text: /^whole$/ },
  ),
  answers(
    'framing of its own',
    `return new Response('0\\r\\n\\r\\nHTTP/1.1 200 OK', { headers: { 'transfer-encoding': 'chunked', connection: 'upgrade', upgrade: 'h2c', 'keep-alive': 'x', trailer: 'y' } })`,
    200,
    {
      run: async (scene, host) => {
        const answer = await scene.send(host)
        const framing = answer.headers.filter(([name]) => ['upgrade', 'trailer', 'transfer-encoding'].includes(name))
        return answer.text === '0\r\n\r\nHTTP/1.1 200 OK' && framing.length === 0 ? '' : JSON.stringify(answer)
      },
    },
  ),
  answers(
    'a streamed body with a length that lies',
    `${encode} return new Response(new ReadableStream({ start(c) { c.enqueue(encode('whole')); c.close() } }), { headers: { 'content-length': '2' } })`,
    200,
    { text: /^whole$/ },
  ),
  answers(
    'a type that lies',
    `return new Response('<script>', { headers: { 'content-type': 'image/png', 'content-encoding': 'br' } })`,
    200,
    { text: /^<script>$/ },
  ),
  answers('a date of its own', `return new Response('x', { headers: { date: 'Thu, 01 Jan 1970 00:00:00 GMT' } })`, 200, {
    run: async (scene, host) => {
      const dates = (await scene.send(host)).headers.filter(([name]) => name === 'date')
      return dates.length <= 1 && !dates.some(([, value]) => value.includes('1970')) ? '' : JSON.stringify(dates)
    },
  }),
  ...Object.entries({
    nothing: 'undefined',
    null: 'null',
    'a text': '"text"',
    'an object': '{ status: 200 }',
    'a function': '() => {}',
    'a request': 'request',
    'a symbol': 'Symbol("x")',
    'an imitation': 'Object.create(Response.prototype)',
    'a proxy of one': 'new Proxy(new Response("x"), {})',
    'a list': '[new Response("x")]',
  }).map(([what, value]) => answers(`instead of an answer ${what}`, `return ${value}`, 'no_response')),
  answers('a promise that never settles', 'return new Promise(() => {})', 'timeout', { limits: { wallMs: 400 } }),
  answers(
    'a thenable that calls back twice',
    `return { then(a, b) { a(new Response('one')); a(new Response('two')); b(new Error('three')) } }`,
    200,
    { text: /^one$/ },
  ),
  answers(
    'a thenable of thenables',
    `let n = 0; const t = { then(a) { a(n++ < 1000 ? t : new Response('end')) } }; return t`,
    200,
    { limits: { cpuMs: 500 }, text: /^end$/ },
  ),
  answers(
    'a subclass that lies',
    `class R extends Response { get status() { return 101 } get headers() { return { forEach() { throw 1 } } } get body() { throw 2 } } return new R('true')`,
    200,
    { text: /^true$/ },
  ),
  answers(
    'properties put on it',
    `const r = new Response('true'); for (const k of ['status', 'headers', 'body', 'type', 'ok']) Object.defineProperty(r, k, { get() { throw 1 } }); return r`,
    200,
    { text: /^true$/ },
  ),
  answers('a body that was read', `const r = new Response('x'); await r.text(); return r`, 'bad_response'),
  answers('a body that is locked', `const r = new Response('x'); r.body.getReader(); return r`, 'bad_response'),
  answers(
    'a body locked after it was returned',
    `const r = new Response(new ReadableStream({ pull(c) { c.enqueue(new Uint8Array(1)); c.close() } })); queueMicrotask(() => { try { r.body.getReader() } catch {} }); return r`,
    [200, 'bad_response'],
    { why: 'Who takes it first has it.' },
  ),
  answers(
    'a stream of what is no bytes',
    `return new Response(new ReadableStream({ start(c) { c.enqueue({}); c.close() } }))`,
    BROKEN,
    { why: UNSENT },
  ),
  answers('a stream of text', `return new Response(new ReadableStream({ start(c) { c.enqueue('text'); c.close() } }))`, BROKEN, {
    why: UNSENT,
  }),
  answers(
    'a stream that fails at once',
    `return new Response(new ReadableStream({ start(c) { c.error(new Error('x')) } }))`,
    BROKEN,
    { why: UNSENT },
  ),
  answers(
    'a stream that fails after a chunk',
    `${encode} let n = 0; return new Response(new ReadableStream({ pull(c) { if (n++) c.error(new Error('x')); else c.enqueue(encode('x')) } }))`,
    BROKEN,
    { why: UNSENT },
  ),
  answers('a pull that throws', `return new Response(new ReadableStream({ pull() { throw new Error('x') } }))`, BROKEN, {
    why: UNSENT,
  }),
  answers(
    'chunks over one buffer that is given away',
    `const b = new ArrayBuffer(100); return new Response(new ReadableStream({ start(c) { c.enqueue(new Uint8Array(b, 0, 50)); c.enqueue(new Uint8Array(b, 50)); structuredClone(b, { transfer: [b] }); c.close() } }))`,
    [200, ...BROKEN],
    { why: 'The bytes are gone, or were copied before.' },
  ),
  answers(
    'a chunk changed after it was sent',
    `${encode} const b = encode('before'); return new Response(new ReadableStream({ async start(c) { c.enqueue(b); await null; b.fill(88); c.close() } }))`,
    200,
    { text: /^(before|XXXXXX)$/, why: 'It is the function’s own bytes, whenever they are copied.' },
  ),
  answers(
    'one chunk of 24 MB',
    `return new Response(new ReadableStream({ start(c) { c.enqueue(new Uint8Array(24_000_000)); c.close() } }))`,
    200,
    {
      limits: { cpuMs: 2_000 },
    },
  ),
  answers(
    'a whole body of 60 MB',
    `return new Response(new Uint8Array(60_000_000))`,
    [200, 'memory_exceeded', 'function_threw'],
    { limits: { cpuMs: 2_000 }, why: 'It is more than half of what there is.' },
  ),
  answers(
    'a stream without end, left by its client',
    `return new Response(new ReadableStream({ pull(c) { c.enqueue(new Uint8Array(65536)) } }))`,
    'left',
    { requests: [{ leaveAfter: 500_000 }], limits: { cpuMs: 2_000 } },
  ),
  answers(
    'a stream that goes on after its client left',
    `return new Response(new ReadableStream({ async pull(c) { await new Promise((r) => setTimeout(r, 5)); c.enqueue(new Uint8Array(1000)) }, cancel() { return new Promise(() => {}) } }))`,
    'left',
    { requests: [{ leaveAfter: 3_000 }], limits: { wallMs: 1_500 } },
  ),
  answers('a stream that never gives anything', `return new Response(new ReadableStream({}))`, ['timeout', 'closed'], {
    limits: { wallMs: 500 },
    why: UNSENT,
  }),
  answers(
    'a stream that drips for ever',
    `return new Response(new ReadableStream({ async pull(c) { await new Promise((r) => setTimeout(r, 20)); c.enqueue(new Uint8Array(1)) } }))`,
    'cut',
    { limits: { wallMs: 600 } },
  ),
  answers(
    'HEAD with a stream without end',
    `return new Response(new ReadableStream({ pull(c) { c.enqueue(new Uint8Array(65536)) } }))`,
    200,
    { requests: [{ method: 'HEAD' }], text: /^$/ },
  ),
  answers('304 with a stream without end', `const r = new Response(null, { status: 304 }); return r`, 304, { text: /^$/ }),
  answers('the request’s own body, sent back', `return new Response(request.body)`, 200, {
    requests: [{ body: 'x'.repeat(300_000) }],
    limits: { cpuMs: 500 },
  }),
  answers(
    'a tee of its own body, both returned',
    `const [a, b] = new Response('x').body.tee(); new Response(a); return new Response(b)`,
    200,
    { text: /^x$/ },
  ),
  answers(
    'a clone of a clone of a stream',
    `let r = new Response(new ReadableStream({ start(c) { c.enqueue(new Uint8Array(10)); c.close() } })); for (let i = 0; i < 50; i++) r = r.clone(); return r`,
    200,
    { limits: { cpuMs: 500 } },
  ),
]
