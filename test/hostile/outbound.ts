import { handler } from './attack.ts'
import type { Attack } from './attack.ts'
import type { Scene } from './scene.ts'

/**
 * Requests to where no function has business. Each has to be refused by the host, by name, before a packet leaves: that is
 * asserted by the error. The host runs in a network that has nothing but a loopback, for the day that one is not.
 */

const refused = (url: string, name = url): Attack => ({
  name: `fetch ${name}`,
  source: handler(
    `try { const r = await fetch(env.URL); return new Response('REACHED ' + r.status) } catch (e) { return new Response(e.name + ' ' + e.message) }`,
  ),
  vars: { URL: url },
  expect: 200,
  text: /^TypeError .*refused: /,
})

const ADDRESSES = [
  'http://127.0.0.1/', 'http://127.1/', 'http://127.0.0.2:8081/', 'http://2130706433/', 'http://0x7f000001/', 'http://0177.0.0.1/', 'http://0x7f.1/', 'http://0/', 'http://0.0.0.0/',
  'http://localhost/', 'http://LOCALHOST/', 'https://localhost/', 
  'http://①②⑦.⓪.⓪.①/', 'http://127。0。0。1/', 'http://%31%32%37.0.0.1/',
  'http://[::1]/', 'http://[::]/', 'http://[::ffff:127.0.0.1]/', 'http://[::ffff:7f00:1]/', 'http://[0:0:0:0:0:ffff:a9fe:a9fe]/', 'http://[::127.0.0.1]/', 'http://[64:ff9b::7f00:1]/', 'http://[64:ff9b:1::a00:1]/', 'http://[2002:7f00:1::]/', 'http://[2001:0:7f00:1::]/',
  'http://[fe80::1]/', 'http://[fec0::1]/', 'http://[fc00::1]/', 'http://[fd00:ec2::254]/', 'http://[ff02::1]/', 'http://[2001:db8::1]/', 'http://[100::1]/',
  'http://10.0.0.1/', 'http://172.16.0.1/', 'http://172.31.255.255/', 'http://192.168.1.1/', 'http://100.64.0.1/', 'http://100.100.100.200/', 'http://169.254.169.254/latest/meta-data/', 'http://169.254.170.2/', 'http://168.63.129.16/', 'http://192.0.0.192/', 'http://192.0.2.1/', 'http://198.18.0.1/', 'http://198.51.100.1/', 'http://203.0.113.1/', 'http://224.0.0.1/', 'http://240.0.0.1/', 'http://255.255.255.255/',
] // prettier-ignore

/** Several addresses by one function, so that their number costs no deploys. */
const manyRefused: Attack = {
  name: `${ADDRESSES.length} notations of addresses that are nobody's`,
  source: handler(
    `const wrong = []
    await Promise.all(env.URLS.split(' ').map(async (url) => { try { const r = await fetch(url); wrong.push(url + ' ' + r.status) } catch (e) { if (e.name !== 'TypeError' || !/refused: /.test(e.message)) wrong.push(url + ' ' + e.message) } }))
    return new Response(wrong.join('; ') || 'all refused')`,
  ),
  vars: { URLS: ADDRESSES.join(' ') },
  limits: { subrequests: 100, cpuMs: 500 },
  expect: 200,
  text: /^all refused$/,
}

/** A function that may reach the server outside, whose address it has in ORIGIN. */
const outside = (
  name: string,
  body: string,
  good: RegExp | string,
  more: { limits?: Record<string, number>; outcome?: (string | number)[]; vars?: (scene: Scene) => Record<string, string> } = {},
): Attack => ({
  name,
  expect: more.outcome ?? 200,
  run: async (scene, host) => {
    const vars = {
      ORIGIN: scene.origin,
      API: `http://127.0.0.1:${scene.served.apiPort}/`,
      DATA: `http://127.0.0.1:${scene.served.port}/`,
      ...more.vars?.(scene),
    }
    const code = await scene.deploy(host.replace('.localhost', ''), {
      source: handler(`const o = env.ORIGIN\n${body}`),
      vars,
      limits: more.limits ?? {},
    })
    if (code !== '') return `not deployed: ${code}`
    const answer = await scene.send(host)
    const fits = (more.outcome ?? [200]).includes(answer.outcome)
    return fits && (answer.outcome !== 200 || new RegExp(good).test(answer.text))
      ? ''
      : `${answer.outcome} ${answer.text.slice(0, 300)}`
  },
})

const said = `.then((r) => 'REACHED ' + r.status, (e) => e.name + ' ' + e.message)`

export const outbound: Attack[] = [
  manyRefused,
  ...ADDRESSES.filter((_, i) => i % 3 === 0).map((url) => refused(url)),
  ...[
    'http://user:password@127.0.0.1/',
    'http://example.com@127.0.0.1/',
    'file:///etc/passwd',
    'data:text/plain,x',
    'ftp://127.0.0.1/',
    'gopher://127.0.0.1:70/',
    'blob:x',
    'javascript:1',
    'ws://127.0.0.1/',
    'unix:/var/run/docker.sock',
    'http://unix:/var/run/docker.sock:/',
  ].map((url): Attack => ({ ...refused(url), text: /^TypeError / })),
  outside('the host’s own API', `return new Response(await fetch(env.API)${said})`, /refused: /),
  outside(
    'the host’s own data port',
    `return new Response(await fetch(env.DATA, { headers: { host: 'victim.localhost' } })${said})`,
    /refused: /,
  ),
  outside(
    'a redirect to the metadata service',
    `return new Response(await fetch(o + '/redirect?to=http://169.254.169.254/latest')${said})`,
    /refused: /,
  ),
  outside(
    'a redirect to a private address in another notation',
    `return new Response(await fetch(o + '/redirect?to=' + encodeURIComponent('http://[::ffff:10.0.0.1]/'))${said})`,
    /refused: /,
  ),
  outside(
    'a redirect of a redirect to the API',
    `return new Response(await fetch(o + '/redirect?to=' + encodeURIComponent('/redirect?to=' + encodeURIComponent(env.API)))${said})`,
    /refused: /,
  ),
  outside(
    'redirects without end',
    `return new Response(await fetch(o + '/redirect?to=' + encodeURIComponent('/redirect?to=/redirect'))${said})`,
    /TypeError|REACHED/,
    {},
  ),
  outside('a redirect to a file', `return new Response(await fetch(o + '/redirect?to=file:///etc/passwd')${said})`, /^TypeError/),
  outside(
    'a forged host and the host’s own fields',
    `const r = await fetch(o + '/headers', { headers: { host: 'evil', connection: 'close, x-mine', 'transfer-encoding': 'chunked', 'content-length': '99', 'skep-request-id': 'x', te: 'x', upgrade: 'h2c', 'proxy-authorization': 'x', expect: '100-continue', 'x-mine': '1' } }); const h = await r.json(); return new Response([h.host === o.slice(7), h['skep-request-id'], h.te, h.upgrade, h['proxy-authorization'], h.expect, h['transfer-encoding']].join())`,
    /^true,+$/,
  ),
  outside(
    'line breaks in a field',
    `try { await fetch(o, { headers: { a: 'b\\r\\nx: y' } }); return new Response('REACHED') } catch (e) { return new Response(e.name) }`,
    /^TypeError$/,
  ),
  outside(
    'line breaks in a path',
    `const r = await fetch(o + '/headers?\\r\\nx-split: y HTTP/1.1\\r\\nhost: evil\\r\\n\\r\\n'); const h = await r.json(); return new Response(String(h['x-split']))`,
    /^undefined$/,
  ),
  outside(
    'methods that tunnel',
    `const seen = []; for (const method of ['CONNECT', 'TRACE', 'TRACK', 'A B', 'GET / HTTP/1.1\\r\\nx: y']) seen.push(await Promise.resolve().then(() => fetch(o, { method })).then(() => 'REACHED', (e) => e.name)); return new Response(seen.join())`,
    /^TypeError(,TypeError){4}$/,
  ),
  outside(
    'more requests than an event may make',
    `let n = 0; try { for (;; n++) await (await fetch(o)).text() } catch (e) { return new Response(n + ' ' + e.message) }`,
    /^50 .*subrequests/,
    { limits: { cpuMs: 1_000 } },
  ),
  outside(
    'thousands of requests at once',
    `const all = await Promise.allSettled(Array.from({ length: 2000 }, () => fetch(o).then((r) => r.text()))); return new Response(String(all.filter((x) => x.status === 'fulfilled').length))`,
    /^50$/,
    { limits: { cpuMs: 2_000 } },
  ),
  outside(
    'requests by an event that has ended',
    `const r = fetch(o + '/silent').catch((e) => console.log(e.name)); return new Response('done')`,
    /^done$/,
  ),
  outside('an answer that never comes', `await fetch(o + '/silent'); return new Response('REACHED')`, 'never', {
    limits: { wallMs: 500 },
    outcome: ['timeout'],
  }),
  outside(
    'an answer without end, kept',
    `const b = await (await fetch(o + '/endless')).arrayBuffer(); return new Response('REACHED ' + b.byteLength)`,
    'never',
    {
      limits: { memoryMb: 32, cpuMs: 5_000, wallMs: 15_000 },
      outcome: ['memory_exceeded', 'function_threw', 'cpu_exceeded', 'timeout'],
    },
  ),
  outside(
    'an answer without end, not read',
    `const r = await fetch(o + '/endless'); await new Promise((x) => setTimeout(x, 200)); return new Response('unread ' + r.status)`,
    /^unread 200$/,
  ),
  outside(
    'an answer that breaks off',
    `return new Response(await (await fetch(o + '/cut')).text().catch((e) => e.name))`,
    /^TypeError$/,
  ),
  outside(
    'an answer with a huge field',
    `return new Response(await fetch(o + '/bomb').then((r) => String(r.headers.get('x-bomb').length), (e) => e.name))`,
    /^(12000|TypeError)$/,
  ),
  outside(
    'an upload without end',
    `let n = 0; const body = new ReadableStream({ pull(c) { c.enqueue(new Uint8Array(65536)); n++ } }); const r = await fetch(o + '/silent', { method: 'POST', body, duplex: 'half' }); return new Response('REACHED')`,
    'never',
    { limits: { wallMs: 700, cpuMs: 2_000 }, outcome: ['timeout'] },
  ),
  outside(
    'a body that was read before',
    `const r = new Request(o, { method: 'POST', body: 'x' }); await r.text(); return new Response(await Promise.resolve().then(() => fetch(r)).then(() => 'REACHED', (e) => e.name))`,
    /^TypeError$/,
  ),
  {
    name: 'the connection of another tenant',
    expect: 200,
    run: async (scene, host) => {
      const mine = host.replace('.localhost', '')
      const source = handler(`return new Response(await (await fetch(env.ORIGIN + '/peer')).text())`)
      const vars = { ORIGIN: scene.origin }
      await scene.deploy(mine, { source, vars })
      await scene.deploy(`${mine}-other`, { source, vars, tenant: 'other' })
      const ports: Record<string, Set<string>> = { [mine]: new Set(), [`${mine}-other`]: new Set() }
      for (let i = 0; i < 10; i++)
        for (const name of Object.keys(ports)) ports[name]!.add((await scene.send(`${name}.localhost`)).text)
      const [one, two] = Object.values(ports) as [Set<string>, Set<string>]
      return [...one].some((port) => two.has(port)) ? `a connection served both: ${[...one]} ${[...two]}` : ''
    },
  },
]
