import { Emit } from '../../sandbox/protocol.ts'
import type { Random } from './random.ts'

/** What happens to a host in one round, as data: so that a round that fails can be made smaller and run again. */
export type Action =
  /** A request; `body`: 0 none, above 0 a length, -1 chunked. */
  | { do: 'call'; body: number }
  /** The guest emits. */
  | { do: 'emit'; messages: Message[] }
  /** The client of the call of this index, modulo those there are: more of its body, its going, room for its answer. */
  | { do: 'body'; call: number; bytes: number; last: boolean }
  | { do: 'leave'; call: number }
  | { do: 'full'; call: number; isFull: boolean }
  /** What the guest is at comes to an end, and how. */
  | { do: 'return'; kind: 'ok' | 'threw' | 'timeout' | 'memory' }
  | { do: 'pass'; ms: number }

/** A message's type and fields. `{ event: n }` stands for the number of the n-th live event, modulo those there are. */
export type Message = unknown[]
export interface EventRef {
  event: number
}

const TYPES = Object.values(Emit)
const EVENT_TYPES: readonly number[] = TYPES.filter((type) => type <= Emit.log)
const ODD_NUMBERS = [0, -0, 1, 2, 7, 1e3, 2 ** 31, 2 ** 32, 2 ** 53 - 1, 2 ** 53, 1e308, 0.5, -1, NaN, Infinity, -Infinity]
const ODD_TEXTS = ['', 'x', '__proto__', 'skep-error', 'a\r\nb: c', '\0', '\ud800', 'é'.repeat(50), 'x'.repeat(3_000)]
const STATUSES = [200, 204, 205, 304, 404, 500, 599, 600, 199, 101, 0, 200.5]

/** Mostly messages as they should be, some of which come at the wrong time, and some that are none. */
export function randomActions(random: Random, count: number, malformed: number): Action[] {
  const actions: Action[] = [{ do: 'call', body: 0 }]
  while (actions.length < count) actions.push(randomAction(random, malformed))
  return actions
}

function randomAction(random: Random, malformed: number): Action {
  const roll = random.next()
  if (roll < 0.72)
    return { do: 'emit', messages: Array.from({ length: 1 + random.int(5) }, () => randomMessage(random, malformed)) }
  if (roll < 0.84) return { do: 'call', body: random.pick([0, 0, 0, 0, 3, 70_000, -1]) }
  if (roll < 0.9) return { do: 'body', call: random.int(99), bytes: size(random), last: random.chance(0.3) }
  if (roll < 0.93) return { do: 'leave', call: random.int(99) }
  if (roll < 0.96) return { do: 'full', call: random.int(99), isFull: random.chance(0.5) }
  if (roll < 0.995) return { do: 'return', kind: random.chance(0.97) ? 'ok' : random.pick(['threw', 'timeout', 'memory']) }
  return { do: 'pass', ms: random.pick([1, 1_000, 40_000]) }
}

export function randomMessage(random: Random, malformed: number): Message {
  const type = random.chance(0.7) ? random.pick(EVENT_TYPES) : random.pick(TYPES)
  const message: Message = [type, ...fieldsOf(type, random)]
  if (!random.chance(malformed)) return message
  const at = random.int(message.length)
  const roll = random.int(4)
  if (roll === 0) message[at] = oddValue(random)
  else if (roll === 1) message.splice(at, 1)
  else if (roll === 2) message.splice(at, 0, oddValue(random))
  else message[0] = random.pick([0, 19, 99, -1, 1.5, NaN, '1', null, undefined, {}])
  return message
}

function fieldsOf(type: number, random: Random): unknown[] {
  const event = random.chance(0.85) ? { event: random.int(99) } : random.pick([0, 1, 2, 3, 50, 2 ** 31, 2 ** 53 - 1])
  const id = random.pick([0, 1, 2, 3, 4, 2 ** 40])
  const count = random.pick([0, 1, 100, 262_144, 1e9, 1e308, 0.5])
  switch (type) {
    case Emit.response:
      return [event, random.pick(STATUSES), headers(random), random.pick(['own', 'own bytes', null])]
    case Emit.head:
      return [event, random.pick(STATUSES), headers(random)]
    case Emit.chunk:
      return [event, random.chance(0.5) ? 'own bytes' : bytes(size(random))]
    case Emit.broken:
      return [event, text(random)]
    case Emit.failed:
      return [
        event,
        random.pick(['function_threw', 'no_response', 'bad_response', 'internal', 'unauthorized', 'toString', '']),
        text(random),
        text(random),
      ]
    case Emit.bodyCredit:
      return [event, count]
    case Emit.log:
      return [event, random.pick(['debug', 'info', 'warn', 'error', 'fatal', '__proto__']), text(random)]
    case Emit.operation:
      return [id, event, random.pick(['fetch', 'fetch', 'kv', '__proto__']), argument(random)]
    case Emit.operationChunk:
      return [id, bytes(size(random))]
    case Emit.operationCredit:
    case Emit.timer:
      return [id, count]
    case Emit.started:
      return [random.pick(['', 'problem']), text(random), ['fetch']]
    default:
      return [type >= Emit.operationEnd ? id : event]
  }
}

/** Every address is one that is refused: nothing is dialled. */
function argument(random: Random): unknown {
  const whole = {
    method: 'GET',
    url: random.pick(['http://127.0.0.1:1/', 'http://[::1]:1/', 'http://10.0.0.1/', 'file:///x', 'nonsense', '']),
    redirect: random.pick(['follow', 'error', 'manual']),
    headers: random.pick([[], ['a', 'b'], ['a'], ['a\r\n', 'b'], [1, 2]]),
    body: random.pick([null, null, 'x', bytes(5), 5]),
    streamed: random.chance(0.2),
  }
  return random.chance(0.8)
    ? whole
    : random.pick([{}, [], { ...whole, method: 5 }, { ...whole, url: null }, { ...whole, headers: { length: 5 } }])
}

const HEADERS: string[][] = [[], ['a', 'b'], ['set-cookie', 'a=b', 'set-cookie', 'c=d'], ['skep-request-id', 'forged']]
const ODD_HEADERS: string[][] = [
  ['a'],
  ['a', 'b\r\nc: d'],
  ['A', 'b'],
  ['', ''],
  ['content-length', '1'],
  ['transfer-encoding', 'x'],
  ['Skep-Error', 'forged', 'skep-', 'x'],
]
const HEADER_BOMB = Array.from({ length: 200 }, () => 'x'.repeat(1_000))

function headers(random: Random): string[] {
  if (random.chance(0.8)) return random.pick(HEADERS)
  return random.chance(0.95) ? random.pick(ODD_HEADERS) : HEADER_BOMB
}

function text(random: Random): string {
  return random.pick(ODD_TEXTS)
}

const zeros = new Map<number, Uint8Array>()

/** Whoever hands them on copies them: a message's bytes are its receiver's. */
function bytes(length: number): Uint8Array {
  let made = zeros.get(length)
  if (made === undefined) zeros.set(length, (made = new Uint8Array(length)))
  return made
}

/** Mostly little, now and then all that the credit allows, or more. */
function size(random: Random): number {
  return random.chance(0.97) ? random.pick([0, 1, 10, 1_000]) : random.pick([70_000, 262_144, 300_000])
}

/** Of the kinds that a structured clone can bring. */
const ODD_OBJECTS: readonly (() => unknown)[] = [
  () => new Map([[1, 2]]),
  () => new Set([1]),
  () => new Date(NaN),
  () => /x/g,
  () => new Error('x'),
  () => new DataView(new ArrayBuffer(8)),
  () => new ArrayBuffer(8),
  () => new Float64Array(2),
  () => new BigInt64Array(1),
  detached,
  cyclic,
  () => Object.create(null) as unknown,
  () => ({ toString: null, valueOf: 5 }),
  () => ({ length: 1e9, 0: 'x' }),
  () => JSON.parse('{"__proto__": {"length": 5}}') as unknown,
]

export function oddValue(random: Random): unknown {
  const roll = random.int(8)
  if (roll === 0) return random.pick(ODD_NUMBERS)
  if (roll === 1) return text(random)
  if (roll === 2) return random.pick([null, undefined, true, 10n, NaN])
  if (roll === 3) return Object.assign([] as unknown[], { length: random.pick([0, 10, 2 ** 32 - 1]) })
  if (roll === 4) return [text(random), random.pick([1, null, 'x'])]
  if (roll === 5) return { event: random.int(99) } satisfies EventRef
  if (roll === 6) return bytes(size(random))
  return random.pick(ODD_OBJECTS)()
}

function detached(): Uint8Array {
  const view = new Uint8Array(8)
  view.buffer.transfer()
  return view
}

function cyclic(): unknown {
  const list: unknown[] = []
  list.push(list)
  return list
}

/** The smallest list that still fails, as far as leaving out halves, then single ones, then single messages gets. */
export async function shrink(actions: Action[], fails: (actions: Action[]) => Promise<boolean>): Promise<Action[]> {
  let best = actions
  for (let size = Math.ceil(best.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < best.length;) {
      const fewer = best.toSpliced(at, size)
      if (await fails(fewer)) best = fewer
      else at += size
    }
  }
  for (const [index, action] of best.entries()) {
    if (action.do !== 'emit') continue
    let { messages } = action
    for (let at = 0; at < messages.length;) {
      const fewer = best.with(index, { do: 'emit', messages: messages.toSpliced(at, 1) })
      if (await fails(fewer)) {
        best = fewer
        messages = messages.toSpliced(at, 1)
      } else at++
    }
  }
  return best
}
