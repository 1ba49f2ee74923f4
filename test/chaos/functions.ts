import { handler } from '../sandbox/probe.ts'
import type { Question } from './load.ts'
import type { Random } from './random.ts'

/** The functions of the steady load: what each one answers follows from the question alone. */
export const FUNCTIONS: Record<string, string> = {
  hello: handler(`return new Response('hello ' + new URL(request.url).pathname)`),
  echo: handler(`return new Response(env.NAME + ':' + await request.text())`),
  // Streamed in pieces that do not divide its length, some of them later than the others.
  stream: handler(`const size = Number(new URL(request.url).searchParams.get('size'))
    let at = 0
    return new Response(new ReadableStream({ async pull(controller) {
      if (at === 0) await new Promise((resolve) => setTimeout(resolve, 5))
      const piece = new Uint8Array(Math.min(7_001, size - at)).map((_, i) => 32 + (at + i) % 91)
      at += piece.length
      controller.enqueue(piece)
      if (at === size) controller.close()
    } }))`),
}

export const hostOf = (fn: string): string => `${fn}.chaos.test`

export const QUESTIONS: ((random: Random) => Question)[] = [
  (random) => {
    const path = `/${random.below(1e9)}`
    return { host: hostOf('hello'), path, check: is(`hello ${path}`) }
  },
  (random) => {
    const body = `${random.below(1e9)}`.repeat(1 + random.below(300))
    return { host: hostOf('echo'), path: '/', body, check: is(`chaos:${body}`) }
  },
  (random) => {
    const size = 1 + random.below(60_000)
    let text = ''
    for (let at = 0; at < size; at++) text += String.fromCharCode(32 + (at % 91))
    return { host: hostOf('stream'), path: `/?size=${size}`, check: is(text) }
  },
]

/** Every function once, for whether all is well. */
export function oneOfEach(random: Random): Question[] {
  return QUESTIONS.map((question) => question(random))
}

function is(expected: string): Question['check'] {
  return ({ status, text }) =>
    status === 200 && text === expected ? '' : `${text.length} bytes, begins ${JSON.stringify(text.slice(0, 60))}`
}
