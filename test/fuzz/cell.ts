import { Duplex } from 'node:stream'
import type { Socket } from 'node:net'
import { inspect } from 'node:util'
import { serialize } from 'node:v8'
import { Channel, checkFromCell } from '../../sandbox/cell-protocol.ts'
import type { FromCell } from '../../sandbox/cell-protocol.ts'
import { CellSandbox } from '../../host/cell-sandbox.ts'
import type { FromSandbox } from '../../host/cell-sandbox.ts'
import { checkBatch } from '../../sandbox/emissions.ts'
import { oddValue, randomMessage } from './actions.ts'
import type { Target } from './protocol.ts'
import { Random } from './random.ts'

/** A pipe's end that takes what a test gives it. */
class FakePipe extends Duplex {
  override _read(): void {}
  override _write(_chunk: unknown, _encoding: string, done: () => void): void {
    done()
  }
}

const SOUND = ['ready', 'refused', 'emit', 'settled', 'ended', 'retire', 'tainted', 'pong']
const TYPES = [...SOUND, 'configure', '__proto__', 5, undefined]

/** The parent's end of a cell's pipe: frames that are whole, cut, too long or nonsense. Nothing but an orderly end comes of them. */
export const fuzzCell: Target = async ({ batches, seed }) => {
  const random = new Random(seed)
  let done = 0
  while (done < batches) {
    const frames: Buffer[] = []
    const sent: unknown[] = []
    for (let count = 1 + random.int(20); count > 0; count--) {
      const messages = Array.from({ length: 1 + random.int(4) }, () => randomFromCell(random))
      done += messages.length
      sent.push(...messages)
      frames.push(frame(messages, random))
    }
    const problem = await deliver(Buffer.concat(frames), random)
    if (problem !== '') return { batches: done, failure: `cell, seed ${seed}: ${problem}\n${inspect(sent, { depth: 5 })}` }
  }
  return { batches: done, failure: '' }
}

/** As the channel gets it: in pieces. */
async function deliver(bytes: Buffer, random: Random): Promise<string> {
  const pipe = new FakePipe()
  let broken = 0
  let problem = ''
  let isOver = false
  const heard = (what: string, batch?: unknown) => {
    if (isOver) problem = `${what} after the end`
    if (batch !== undefined && checkBatch(batch) !== '') problem = 'a malformed batch was handed on'
  }
  const sandbox = new CellSandbox(
    { name: 'acme/fuzzed', version: '1' },
    {
      emit: (batch) => heard('emit', batch),
      settled: ({ cpuMs }) => heard('settled', cpuMs >= 0 ? undefined : [NaN]),
      retire: () => heard('retire'),
      ended() {
        heard('ended')
        isOver = true
      },
    },
    { dispatch() {}, dispose() {} },
  )
  const closed = new Promise<void>((resolve) => {
    const channel = new Channel<never, FromCell>(
      pipe as unknown as Socket,
      (message) => {
        const why = checkFromCell(message)
        if (typeof why !== 'string') problem = 'a check that says nothing'
        // As a cell does: the pipe is given up.
        if (why !== '') throw new Error(why)
        if ('sandbox' in message) sandbox.receive(message satisfies FromSandbox)
      },
      () => {
        broken++
        resolve()
      },
    )
    pipe.once('close', () => channel.destroy())
  })
  for (let at = 0; at < bytes.length && !pipe.destroyed;) {
    const size = random.pick([1, 3, 4, 5, 100, 65_536])
    pipe.push(bytes.subarray(at, at + size))
    at += size
    if (random.chance(0.01)) await null
  }
  if (!pipe.destroyed) pipe.push(null)
  // A pipe whose other end is gone closes; this one is told to.
  await new Promise((resolve) => setImmediate(resolve))
  pipe.destroy()
  await closed
  return broken === 1 ? problem : `the end was told ${broken} times`
}

function frame(messages: unknown[], random: Random): Buffer {
  let body: Buffer
  try {
    body = serialize(random.chance(0.02) ? oddValue(random) : messages)
  } catch {
    body = serialize([])
  }
  const head = Buffer.alloc(4)
  head.writeUInt32LE(body.length)
  const roll = random.next()
  if (roll < 0.01) head.writeUInt32LE(random.pick([0, 1, body.length + 1, Math.max(0, body.length - 1), 0x7fffffff, 0xffffffff]))
  else if (roll < 0.03) body[random.int(body.length)] = random.int(256)
  else if (roll < 0.04) return Buffer.concat([head, body]).subarray(0, random.int(body.length + 4))
  return Buffer.concat([head, body])
}

function randomFromCell(random: Random): unknown {
  if (random.chance(0.005)) return oddValue(random)
  const odd = random.chance(0.01)
  const value = <T>(usual: T): unknown => (odd && random.chance(0.4) ? oddValue(random) : usual)
  const type = odd ? random.pick(TYPES) : random.pick(SOUND)
  return {
    type,
    sandbox: value(random.int(5)),
    report: value({ cpuMs: value(1), memoryBytes: value(5), handlers: value(['fetch']), waitedMs: value(0) }),
    message: value('x'),
    stack: value(''),
    batch: value(randomMessage(random, 0.1).map((field) => (typeof field === 'object' ? null : field))),
    failure: value({ code: value('cpu_exceeded'), message: value('x'), notBegun: value([1, 2]) }),
    rssBytes: value(1e8),
    taint: value({ kind: value('unstoppable'), name: value('a/b'), version: value('1'), message: value('x') }),
  }
}
