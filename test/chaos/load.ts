import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Random } from './random.ts'

/** A request whose answer is known. */
export interface Question {
  host: string
  path: string
  body?: string
  /** '' when the answer is right, else what is wrong with it. */
  check(answer: { status: number; text: string; sentAt: number; answeredAt: number }): string
}

export interface Failure {
  /**
   * `cut`: the connection broke; `refused`: nobody listens; `late`: no whole answer within PATIENCE; `wrong`: an answer that
   * is not the one that was to come; or the code of an error answer.
   */
  kind: string
  host: string
  /** performance.now() when it was known. */
  at: number
  detail: string
}

/** A client gives up after this, ms. */
const PATIENCE = 15_000
/**
 * A steady load: clients that ask one question after another, half of them each time on a new connection, check every answer
 * byte for byte, and put every failure into a class.
 */
export class Load {
  readonly clients: number
  readonly failures: Failure[] = []
  answered = 0
  #port: number
  readonly #pauseMs: number
  readonly #next: () => Question
  readonly #agent = new Agent({ keepAlive: true })
  readonly #stopped = new AbortController()
  readonly #running: Promise<void>[]

  /** `pauseMs`: between two questions of one client. */
  constructor(port: number, questions: readonly ((random: Random) => Question)[], random: Random, clients = 6, pauseMs = 10) {
    this.#port = port
    this.clients = clients
    this.#pauseMs = pauseMs
    this.#next = () => random.pick(questions)(random)
    this.#running = Array.from({ length: clients }, (_, index) => this.#run(index % 2 === 0 ? this.#agent : undefined))
  }

  /** The host was started anew, on another port. */
  move(port: number): void {
    this.#port = port
  }

  /** Failures from here on. */
  mark(): { failures(): Failure[]; answered(): number } {
    const [at, before] = [this.failures.length, this.answered]
    return { failures: () => this.failures.slice(at), answered: () => this.answered - before }
  }

  /** Resolves when so many more right answers have come; rejects after `ms`. */
  async goesOn(count: number, ms = 20_000): Promise<void> {
    const [before, began] = [this.answered, performance.now()]
    while (this.answered < before + count) {
      if (performance.now() - began > ms)
        throw new Error(
          `Only ${this.answered - before} of ${count} answers within ${ms} ms; last: ${JSON.stringify(this.failures.slice(-3))}`,
        )
      await sleep(10)
    }
  }

  async stop(): Promise<void> {
    this.#stopped.abort()
    await Promise.all(this.#running)
    this.#agent.destroy()
  }

  async #run(agent: Agent | undefined): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      const question = this.#next()
      const failure = await ask(this.#port, question, agent)
      if (failure === undefined) this.answered++
      else this.failures.push(failure)
      await sleep(failure?.kind === 'refused' ? 50 : this.#pauseMs)
    }
  }
}

/** One question; undefined when its answer was right. */
export function ask(port: number, question: Question, agent?: Agent): Promise<Failure | undefined> {
  const { host, path, body } = question
  const sentAt = performance.now()
  return new Promise((resolve) => {
    let timer: NodeJS.Timeout | undefined
    let headed = false
    const fail = (kind: string, detail: string) => {
      clearTimeout(timer)
      resolve({ kind, host, at: performance.now(), detail })
    }
    const sent = request({
      ...{ host: '127.0.0.1', port, path, headers: { host }, method: body === undefined ? 'GET' : 'POST' },
      agent: agent ?? false,
    })
    timer = setTimeout(() => {
      fail(
        'late',
        `no whole answer within ${PATIENCE} ms${agent === undefined ? '' : ', on a kept connection'}${headed ? ', after its head' : ''}`,
      )
      sent.destroy()
    }, PATIENCE)
    sent.on('error', (error: NodeJS.ErrnoException) => fail(error.code === 'ECONNREFUSED' ? 'refused' : 'cut', error.message))
    sent.on('response', (response) => {
      headed = true
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', (error) => fail('cut', `in mid-answer: ${error.message}`))
      response.on('end', () => {
        clearTimeout(timer)
        const text = Buffer.concat(chunks).toString('latin1')
        const answer = { status: response.statusCode!, text, sentAt, answeredAt: performance.now() }
        const wrong = question.check(answer)
        const code = response.headers['skep-error'] as string | undefined
        if (wrong === '') resolve(undefined)
        else fail(code ?? 'wrong', `${wrong} (${answer.status})`)
      })
    })
    sent.end(body)
  })
}
