import type { IncomingMessage } from 'node:http'
import { ask } from '../client.ts'
import { residentBytes, sleep, watchPeak } from '../processes.ts'
import { megabytes } from '../report.ts'
import type { Report } from '../report.ts'
import { onlyWorker, startSkep } from '../skep.ts'
import type { SkepHost } from '../skep.ts'

const HOST = 'streams.localhost'
const DOWN_BYTES = 200 * 1_048_576
const UP_BYTES = 90 * 1_048_576
/** The slow reader's pace, bytes a second, and how much it reads before it leaves. */
const SLOW_PACE = 4 * 1_048_576
const SLOW_BYTES = 20 * 1_048_576
const MOST_EXTRA_BYTES = 64 * 1_048_576

/** GET streams as many bytes as the path says, in chunks of 64 kB; POST reads the body and tells its length and sum. */
const CODE = `
const chunk = new Uint8Array(65536)
for (let i = 0; i < chunk.length; i++) chunk[i] = i % 251
export default {
  async fetch(request) {
    if (request.method === 'POST') {
      let length = 0, sum = 0
      for await (const bytes of request.body) {
        length += bytes.length
        sum = (sum + bytes[0] + bytes[bytes.length - 1]) % 1000003
      }
      return new Response(String(length))
    }
    let left = Number(new URL(request.url).pathname.slice(1))
    return new Response(new ReadableStream({
      pull(controller) {
        if (left === 0) return controller.close()
        const bytes = chunk.slice(0, Math.min(left, chunk.length))
        left -= bytes.length
        controller.enqueue(bytes)
      },
    }))
  },
}`

interface Stream {
  name: string
  /** Resolves with the number of bytes that arrived at the other end. */
  run(host: SkepHost): Promise<number>
  bytes: number
}

const STREAMS: Stream[] = [
  { name: 'answer of 200 MB', bytes: DOWN_BYTES, run: ({ port }) => download(port) },
  { name: 'upload of 90 MB', bytes: UP_BYTES, run: ({ port }) => upload(port) },
  { name: 'answer of 200 MB, slow reader that leaves after 20 MB', bytes: SLOW_BYTES, run: ({ port }) => downloadSlowly(port) },
]

/** How much memory bodies in flight cost the worker: they are streamed, so it must not grow with their size. */
export async function streams(): Promise<Report> {
  const problems: string[] = []
  const table = [['stream', 'MB', 'seconds', 'MB/s', 'RSS before MB', 'extra at peak MB']]
  const data = []
  for (const listener of ['uws', 'node']) {
    const host = await startSkep({ workers: '1', listener, placement: 'inline' })
    try {
      await host.deploy('streams', CODE)
      await host.route('streams', HOST)
      const worker = await onlyWorker(host)
      await expectBytes(host.port, 1_000_000)
      for (const { name, bytes, run } of STREAMS) {
        await sleep(500)
        const before = residentBytes([worker])
        const stop = watchPeak(() => residentBytes([worker]))
        const began = performance.now()
        const arrived = await run(host)
        const seconds = (performance.now() - began) / 1000
        const extra = stop() - before
        const label = `${name}, ${listener === 'uws' ? 'uWebSockets.js' : 'node:http'}`
        if (arrived !== bytes) problems.push(`${label}: ${arrived} bytes arrived, not ${bytes}`)
        if (extra > MOST_EXTRA_BYTES) problems.push(`${label}: the worker grew by ${megabytes(extra)} MB`)
        table.push([
          label,
          megabytes(bytes),
          seconds.toFixed(2),
          (bytes / 1_048_576 / seconds).toFixed(0),
          megabytes(before),
          megabytes(extra),
        ])
        data.push({ name, listener, bytes, seconds, beforeBytes: before, extraBytes: extra })
      }
    } finally {
      await host.stop()
    }
  }
  return { table, data, problems }
}

/** A short stream, every byte of which is looked at. */
async function expectBytes(port: number, bytes: number): Promise<void> {
  let at = 0
  for await (const chunk of await ask({ port, host: HOST, path: `/${bytes}` })) {
    for (const byte of chunk as Uint8Array)
      if (byte !== (at++ % 65_536) % 251) throw new Error(`byte ${at - 1} of a stream is wrong`)
  }
  if (at !== bytes) throw new Error(`a stream of ${bytes} bytes has ${at}`)
}

async function download(port: number): Promise<number> {
  let bytes = 0
  for await (const chunk of await open(port)) bytes += (chunk as Uint8Array).length
  return bytes
}

async function downloadSlowly(port: number): Promise<number> {
  const answer = await open(port)
  const began = performance.now()
  let bytes = 0
  for await (const chunk of answer) {
    bytes = Math.min(SLOW_BYTES, bytes + (chunk as Uint8Array).length)
    if (bytes === SLOW_BYTES) break
    const ahead = (bytes / SLOW_PACE) * 1000 - (performance.now() - began)
    if (ahead > 5) await sleep(ahead)
  }
  answer.destroy()
  return bytes
}

async function open(port: number): Promise<IncomingMessage> {
  const answer = await ask({ port, host: HOST, path: `/${DOWN_BYTES}` })
  if (answer.statusCode !== 200) throw new Error(`a stream was answered with ${answer.statusCode}`)
  return answer
}

/** Chunked, so that its length is not known before its end. */
async function upload(port: number): Promise<number> {
  const chunk = new Uint8Array(65_536)
  const answer = await ask({ port, host: HOST, method: 'POST' }, async (to) => {
    for (let sent = 0; sent < UP_BYTES; sent += chunk.length) {
      if (!to.write(chunk)) await new Promise((resolve) => to.once('drain', resolve))
    }
    to.end()
  })
  let text = ''
  for await (const piece of answer) text += String(piece)
  if (answer.statusCode !== 200) throw new Error(`an upload was answered with ${answer.statusCode}`)
  return Number(text)
}
