import { CONTAINED, handler, tries } from './attack.ts'
import type { Attack } from './attack.ts'
import type { Scene } from './scene.ts'
import type { Answer } from './client.ts'

/** From one tenant, version, event or caller to another. `secret` is what must not turn up elsewhere. */

const SECRET = 'sesame-7f3a91'

/** Another tenant's function is deployed and run many times over, then this one looks. */
const between = (name: string, hides: string, looks: string): Attack => ({
  name,
  expect: 200,
  run: async (scene, host) => {
    const fn = host.replace('.localhost', '')
    const other = `${fn}-other`
    const hidden = await scene.deploy(other, {
      source: handler(`${hides}\nreturn new Response('hidden')`),
      limits: { cpuMs: 2_000 },
      tenant: 'other',
    })
    const found = await scene.deploy(fn, { source: tries(looks), limits: { cpuMs: 2_000 } })
    if (hidden !== '' || found !== '') return `could not be deployed: ${hidden} ${found}`
    for (let i = 0; i < 6; i++) {
      const hide = await scene.send(`${other}.localhost`)
      const look = await scene.send(host)
      if (hide.text !== 'hidden') return `the other tenant answers ${hide.outcome}`
      if (look.text !== 'contained') return `${look.outcome} ${look.text}`
    }
    return ''
  },
})

const problems = (answers: Answer[], good: (answer: Answer) => boolean): string => {
  const bad = answers.find((answer) => !good(answer))
  return bad === undefined ? '' : `${bad.outcome} ${bad.text.slice(0, 200)} ${JSON.stringify(bad.headers).slice(0, 300)}`
}

const field = (answer: Answer, name: string) => answer.headers.filter(([key]) => key === name).map(([, value]) => value)

/** Two functions, of two tenants, with a token for the second: what it may not do with the first. */
const overApi = (
  name: string,
  act: (scene: Scene, token: string, theirs: string) => Promise<{ code: string }>,
  code: string,
): Attack => ({
  name,
  expect: code,
  run: async (scene, host) => {
    const theirs = host.replace('.localhost', '')
    const refused = await scene.deploy(theirs, { source: handler(`return new Response('theirs')`), vars: { S: SECRET } })
    if (refused !== '') return refused
    const made = await scene.api('POST', '/v1/tokens', { tenant: 'intruder', json: { name: 'x', role: 'admin' } })
    const answer = await act(scene, made.body.token, theirs)
    if (answer.code !== code) return `answered ${answer.code || JSON.stringify(answer)}`
    if (JSON.stringify(answer).includes(SECRET)) return 'the answer has the secret'
    return (await scene.send(host)).text === 'theirs' ? '' : 'the function does not answer as before'
  },
})

export const leak: Attack[] = [
  between(
    'a global of another tenant',
    `globalThis.secret = '${SECRET}'`,
    `if (globalThis.secret) found.push(globalThis.secret)`,
  ),
  between(
    'a prototype of another tenant',
    `Object.prototype.secret = '${SECRET}'; Array.prototype.map = () => '${SECRET}'; Response.prototype.secret = 1`,
    `if ({}.secret || Response.prototype.secret || [1].map(String)[0] !== '1') found.push('prototype')`,
  ),
  between(
    'a registered symbol of another tenant',
    `const k = Symbol.for('shared'); Object[k] = '${SECRET}'`,
    `if (Object[Symbol.for('shared')]) found.push('symbol')`,
  ),
  between(
    'prepareStackTrace of another tenant',
    `Error.prepareStackTrace = () => '${SECRET}'; Error.stackTraceLimit = 0`,
    `if (String(new Error('x').stack).includes('${SECRET}') || Error.prepareStackTrace || Error.stackTraceLimit === 0) found.push('stack')`,
  ),
  between(
    'a cache of another tenant',
    `await globalThis.caches?.default?.put?.('http://a/', new Response('${SECRET}'))`,
    `if (typeof caches !== 'undefined') found.push('caches')`,
  ),
  between(
    'listeners on the global of another tenant',
    `globalThis.onerror = () => {}; globalThis.addEventListener?.('x', () => { throw 1 })`,
    `if (globalThis.onerror) found.push('onerror')`,
  ),
  between(
    'memory that another tenant has freed',
    `const all = []; for (let i = 0; i < 40; i++) all.push(new TextEncoder().encode('${SECRET}'.repeat(5000))); await new Response(new Blob?.constructor ? all[0] : all[0]).text()`.replace(
      'new Blob?.constructor ? all[0] : all[0]',
      'all[0]',
    ),
    `for (let i = 0; i < 40; i++) { const b = new Uint8Array(65_000); if (b.some((x) => x !== 0)) found.push('dirty buffer') }
     for (const b of [new TextEncoder().encode('x'), new Uint8Array(await new Response('abc').arrayBuffer()), new Uint8Array(await request.arrayBuffer())]) if (b.buffer.byteLength > b.byteLength) found.push('larger buffer ' + b.buffer.byteLength)`,
  ),
  {
    name: 'memory around a request’s body',
    source:
      handler(`const c = request.clone(); const one = (await request.body.getReader().read()).value; const all = await c.arrayBuffer()
      return new Response(one.buffer.byteLength === one.byteLength && all.byteLength === ${SECRET.length} ? 'contained' : 'ESCAPED ' + one.buffer.byteLength)`),
    requests: [{ body: SECRET }, { body: SECRET, headers: { 'transfer-encoding': 'chunked' } }],
    expect: 200,
    text: CONTAINED,
  },
  {
    name: 'memory around an outbound answer’s body',
    expect: 200,
    run: async (scene, host) => {
      const source = tries(
        `const r = await fetch(env.ORIGIN + '/'); const { value } = await r.body.getReader().read(); if (value.buffer.byteLength !== value.byteLength) found.push(value.buffer.byteLength)`,
      )
      await scene.deploy(host.replace('.localhost', ''), { source, vars: { ORIGIN: scene.origin } })
      return problems([await scene.send(host)], ({ text }) => text === 'contained')
    },
  },
  {
    name: 'state of an earlier version',
    expect: 200,
    run: async (scene, host) => {
      const fn = host.replace('.localhost', '')
      const version = (n: number) =>
        handler(
          `const seen = globalThis.secret ?? 'none'; globalThis.secret = '${SECRET}${n}'; Object.prototype.left = ${n}; return new Response('v${n} ' + seen + typeof ({}).other)`,
        )
      await scene.deploy(fn, { source: version(1) })
      for (let i = 0; i < 4; i++) await scene.send(host)
      await scene.deploy(fn, { source: version(2) })
      const began = performance.now()
      let answer = await scene.send(host)
      while (answer.text.startsWith('v1') && performance.now() - began < 5_000) answer = await scene.send(host)
      return problems([answer], ({ text }) => text.startsWith('v2') && !text.includes(`${SECRET}1`))
    },
  },
  {
    name: 'answers of events that run together',
    source: handler(
      `const body = await request.text(); const n = Number(body.split('-')[1]); await new Promise((r) => setTimeout(r, n % 7)); return new Response(body, { headers: { 'x-body': body } })`,
    ),
    expect: 200,
    run: async (scene, host) => {
      const answers = await Promise.all(
        Array.from({ length: 60 }, (_, n) => scene.send(host, { body: `body-${n}-${'x'.repeat(n * 50)}` })),
      )
      return answers.findIndex(
        (answer, n) => !answer.text.startsWith(`body-${n}-`) || field(answer, 'x-body')[0] !== answer.text,
      ) < 0
        ? ''
        : 'an answer is another’s'
    },
  },
  {
    name: 'a stream of another event',
    source: handler(
      `if (request.url.endsWith('/open')) return new Response(new ReadableStream({ start(c) { held = c; c.enqueue(new TextEncoder().encode('open ')) } }))
       const had = held; held = undefined; try { had?.enqueue(new TextEncoder().encode('from another event')); had?.close() } catch {}
       return new Response('second')`,
      'let held',
    ),
    expect: 200,
    why: 'Both events are of one function: it may mix up its own answers, and nobody else’s.',
    run: async (scene, host) => {
      const open = scene.send(host, { path: '/open', leaveAfterMs: 3_000 })
      const second = await scene.send(host)
      await open
      return problems([second, await scene.send(host)], ({ text }) => text === 'second')
    },
  },
  {
    name: 'the request of an event that has ended',
    source: handler(
      `const had = held; held = { request, ctx }
       if (!had) return new Response('first')
       const tried = []
       try { tried.push(await had.request.text()) } catch (e) { tried.push(e.name) }
       try { had.ctx.waitUntil(new Promise(() => {})); tried.push('kept alive') } catch (e) { tried.push(e.name) }
       return new Response(tried.join())`,
      'let held',
    ),
    requests: [{ body: SECRET }, { body: 'second' }],
    expect: 200,
    text: /TypeError$/,
    why: 'What a function read it may keep; the ended event’s context may not be used.',
  },
  {
    name: 'one answer for two events',
    source: handler(`return kept ??= new Response('once')`, 'let kept'),
    requests: [{}, {}],
    expect: ['bad_response', 200],
    why: 'On a second worker it is the first.',
  },
  {
    name: 'the promise of another event',
    source: handler(
      `const had = kept; kept = fetch(env.NONE ?? 'http://127.0.0.1:1/').catch((e) => e.name); return new Response(String(await (had ?? kept)))`,
      'let kept',
    ),
    requests: [{}, {}, {}],
    expect: 200,
    text: /^(Type|Abort)Error$/,
  },
  {
    name: 'the host’s headers, said by a caller',
    source: handler('return Response.json([...request.headers].filter(([k]) => k.startsWith("skep-")))'),
    requests: [{ headers: { 'skep-request-id': 'forged', 'SKEP-Tenant': 'admin', 'skep-error': 'x', 'skep-function': 'y' } }],
    expect: 200,
    text: /^\[\["skep-request-id","(?!forged)[\w-]+"\]\]$/,
  },
  {
    name: 'the host’s headers, said by a function',
    source: handler(
      `return new Response('x', { headers: { 'skep-request-id': 'forged', 'skep-error': 'internal', 'Skep-Other': 'x' } })`,
    ),
    expect: 200,
    run: async (scene, host) =>
      problems([await scene.send(host)], (answer) => {
        const own = answer.headers.filter(([name]) => name.startsWith('skep-'))
        return own.length === 1 && own[0]![0] === 'skep-request-id' && own[0]![1] !== 'forged'
      }),
  },
  {
    name: 'request ids that repeat or can be told',
    source: handler('return new Response(request.headers.get("skep-request-id"))'),
    expect: 200,
    run: async (scene, host) => {
      const answers = await Promise.all(Array.from({ length: 40 }, () => scene.send(host)))
      const ids = new Set(answers.map(({ text }) => text))
      const same = answers.every((answer) => field(answer, 'skep-request-id')[0] === answer.text)
      return ids.size === 40 && same ? '' : `${ids.size} ids of 40`
    },
  },
  {
    name: 'the cause of an error, in its answer',
    source: handler(`const e = new Error('${SECRET}'); e.stack = '${SECRET} at /etc/passwd'; throw e`),
    expect: 'function_threw',
    text: /^Internal Server Error$/,
  },
  {
    name: 'the cause of a bad answer, in that answer',
    source: handler(
      `return new Response('${SECRET}', { headers: Array.from({ length: 3000 }, (_, i) => ['h' + i, '${SECRET}'.repeat(10)]) })`,
    ),
    expect: 'bad_response',
    text: /^Internal Server Error$/,
  },
  {
    name: 'lines of a log in another’s',
    source: handler(`console.log('${SECRET} mine'); return new Response('x')`),
    expect: 200,
    run: async (scene, host) => {
      await scene.send(host)
      const line = JSON.parse(await scene.logged(host, new RegExp(`${SECRET} mine`))) as { function: string }
      return line.function === `default/${host.replace('.localhost', '')}` ? '' : `it is logged for ${line.function}`
    },
  },
  {
    name: 'a forged line of the log',
    source: handler(
      `console.log('mine\\n{"level":60,"function":"victim/victim","msg":"forged"}\\r\\n\\u001b[2Jforged'); return new Response('x')`,
    ),
    expect: 200,
    run: async (scene, host) => {
      await scene.send(host)
      const line = await scene.logged(host, /forged/)
      const forged = scene.served.log.filter((other) => other.startsWith('{"level":60,"function":"victim/victim"'))
      return forged.length === 0 && JSON.parse(line).msg.includes('\n') ? '' : 'a line was forged'
    },
  },
  {
    name: 'a forged request id in the log',
    source: handler(
      `console.error('requestId', { requestId: 'forged', function: 'victim/victim', level: 60 }); return new Response('x')`,
    ),
    expect: 200,
    run: async (scene, host) => {
      await scene.send(host)
      const line = JSON.parse(await scene.logged(host, /forged/)) as { requestId: string; level: number }
      return line.requestId !== 'forged' && line.level < 60 ? '' : 'a field was forged'
    },
  },
  {
    name: 'random numbers that two isolates share',
    source: handler(
      `return new Response([Math.random(), crypto.randomUUID(), crypto.getRandomValues(new Uint32Array(2)).join()].join())`,
    ),
    expect: 200,
    run: async (scene, host) => {
      const twin = `${host.replace('.localhost', '')}-twin`
      await scene.deploy(twin, {
        source: handler(
          `return new Response([Math.random(), crypto.randomUUID(), crypto.getRandomValues(new Uint32Array(2)).join()].join())`,
        ),
        tenant: 'other',
      })
      const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => scene.send(i % 2 ? host : `${twin}.localhost`)))
      return new Set(answers.flatMap(({ text }) => text.split(','))).size === 80 ? '' : 'numbers repeat'
    },
  },
  {
    name: 'what a started event left to a timer',
    source: handler(
      `if (request.url.endsWith('/leave')) { setTimeout(() => { late.push('ran'); console.log('late') }, 1); return new Response('left') }
       await new Promise((r) => setTimeout(r, 20)); return new Response('seen ' + late.length)`,
      'const late = []',
    ),
    requests: [{ path: '/leave' }, {}],
    expect: 200,
    text: /^seen [01]$/,
    why: 'It runs on another event’s time or not at all, within one function.',
  },
  overApi(
    'another tenant’s function, read',
    (scene, token, theirs) => scene.api('GET', `/v1/functions/${theirs}`, { token, tenant: 'default' }),
    'forbidden',
  ),
  overApi(
    'another tenant’s function, deleted',
    (scene, token, theirs) => scene.api('DELETE', `/v1/functions/${theirs}`, { token, tenant: 'default' }),
    'forbidden',
  ),
  overApi(
    'another tenant’s function by its bare name',
    (scene, token, theirs) => scene.api('GET', `/v1/functions/${theirs}`, { token }),
    'not_found',
  ),
  overApi(
    'another tenant’s hostname, taken over',
    async (scene, token, theirs) => {
      await scene.deploy(`${theirs}-in`, { source: handler(`return new Response('taken')`), tenant: 'intruder' })
      return scene.api('PUT', `/v1/routes/${theirs}.localhost`, { token, json: { function: `${theirs}-in` } })
    },
    'route_conflict',
  ),
  overApi(
    'another tenant’s hostname, removed',
    (scene, token, theirs) => scene.api('DELETE', `/v1/routes/${theirs}.localhost`, { token }),
    'route_conflict',
  ),
  overApi(
    'a token for everybody',
    (scene, token) => scene.api('POST', '/v1/tokens', { token, json: { name: 'y', role: 'admin', tenant: '*' } }),
    'forbidden',
  ),
  overApi(
    'another tenant’s function, invoked',
    (scene, token, theirs) => scene.api('POST', `/v1/functions/${theirs}/invoke`, { token, json: {} }),
    'not_found',
  ),
]
