import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { handler } from '../sandbox/probe.ts'
import { eventually } from '../served.ts'
import { hostOf, QUESTIONS } from './functions.ts'
import type { Question } from './load.ts'
import type { Random } from './random.ts'
import type { Stage } from './stage.ts'

/** Functions that take turns in too little room: each request to one of them is likely a cold start and an eviction. */
const COLD = 40

/** Code, and limits where they are not the host's. */
const FUNCTIONS: Record<string, [code: string, limits?: object]> = {
  upload: [
    handler(`let length = 0, sum = 0
      for await (const chunk of request.body) { length += chunk.length; sum = (sum + chunk[0] + chunk.at(-1)) % 65_536 }
      return new Response(String(length))`),
  ],
  outbound: [handler(`return new Response('got ' + await (await fetch(env.ORIGIN + new URL(request.url).pathname)).text())`)],
  spins: [handler('for (;;);'), { cpuMs: 20 }],
  hoards: [handler('const all = []; for (;;) all.push(new Array(10_000).fill(all.length))'), { memoryMb: 16 }],
  throws: [handler(`console.error('about to throw'); throw new Error('as it does')`)],
  // Leaves timers, intervals and a promise behind.
  litters: [
    handler(
      `setTimeout(() => {}, 3_000); ctx.waitUntil(new Promise((r) => setTimeout(r, 20))); return new Response('littered')`,
      'setInterval(() => {}, 10)',
    ),
  ],
  endless: [
    handler(`return new Response(new ReadableStream({ async pull(c) {
      await new Promise((r) => setTimeout(r, 2)); c.enqueue(new Uint8Array(10_000)) } }))`),
  ],
}

export interface Origin {
  url: string
  close(): void
}

/** What functions fetch from: answers with the path. */
export async function startOrigin(): Promise<Origin> {
  const server = createServer((req, res) => res.end(req.url))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close() {
      server.close()
      server.closeAllConnections()
    },
  }
}

export async function deployAll(stage: Stage, origin: Origin): Promise<void> {
  for (const [name, [code, limits]] of Object.entries(FUNCTIONS)) await stage.deploy(name, code, { ORIGIN: origin.url }, limits)
  for (let i = 0; i < COLD; i++) await stage.deploy(`cold-${i}`, coldCode(i))
}

function coldCode(index: number): string {
  return handler(`return new Response('cold ${index}')`)
}

const text =
  (expected: string): Question['check'] =>
  ({ status, text: got }) =>
    status === 200 && got === expected ? '' : `${got.slice(0, 60)}`

/** An error answer of the tenant's own making, or one that keeps it away from the others. */
const offends: Question['check'] = ({ status, text: got }) =>
  [500, 503, 429].includes(status) ? '' : `${status} ${got.slice(0, 60)}`

/** Hello three times as often as all the rest. */
export const MIXED: ((random: Random) => Question)[] = [
  ...Array.from({ length: 18 }, () => QUESTIONS[0]!),
  ...QUESTIONS,
  (random) => {
    const body = 'u'.repeat(1 + random.below(2_000_000))
    return { host: hostOf('upload'), path: '/', body, check: text(String(body.length)) }
  },
  (random) => {
    const path = `/${random.below(1e9)}`
    return { host: hostOf('outbound'), path, check: text(`got ${path}`) }
  },
  () => ({ host: hostOf('throws'), path: '/', check: offends }),
  () => ({ host: hostOf('litters'), path: '/', check: text('littered') }),
  (random) => {
    const index = random.below(COLD)
    return { host: hostOf(`cold-${index}`), path: '/', check: text(`cold ${index}`) }
  },
]

/** Each costs a core for a while, so they come at their own pace. */
export const OFFENCES: ((random: Random) => Question)[] = [
  () => ({ host: hostOf('spins'), path: '/', check: offends }),
  () => ({ host: hostOf('hoards'), path: '/', check: offends }),
]

/** Clients that leave in the midst of an answer or of their own body. */
export async function leaveEarly(stage: Stage, random: Random, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const uploads = random.below(2) === 0
    const headers = { host: hostOf(uploads ? 'upload' : 'endless'), ...(uploads ? { 'content-length': '1000000' } : {}) }
    const sent = request({ port: stage.served.port, host: '127.0.0.1', agent: false, headers, method: uploads ? 'POST' : 'GET' })
    sent.on('error', () => {})
    sent.on('response', (response) => {
      response.resume()
      response.on('error', () => {})
    })
    if (uploads) sent.write('x'.repeat(1 + random.below(200_000)))
    else sent.end()
    await sleep(5 + random.below(60))
    sent.destroy()
  }
}

/** New versions of functions under load, one after another; each must answer soon. */
export async function deployOn(stage: Stage, random: Random, signal: AbortSignal): Promise<number> {
  let deploys = 0
  for (; !signal.aborted; deploys++) {
    const name = `fresh-${random.below(10)}`
    await stage.deploy(name, handler(`return new Response('${name} ${deploys}')`))
    const isThere = async () => (await stage.served.get(hostOf(name))).text === `${name} ${deploys}`
    await eventually(`deploy ${deploys} of ${name} answers`, isThere, 5_000)
    await sleep(100)
  }
  return deploys
}
