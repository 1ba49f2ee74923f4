import assert from 'node:assert/strict'
import { functionPath } from '../../control-api/cli/client.ts'
import { bundleOf, form } from '../../control-api/test-support/host.ts'
import { Ledger } from './ledger.ts'
import { Load } from './load.ts'
import { Random } from './random.ts'
import { assertOnly } from './scenario.ts'
import type { Scenario } from './scenario.ts'
import type { Stage } from './stage.ts'

/** Those who change things at the same time, each with functions and hostnames of its own. */
const ACTORS = 3
const EACH = 2
const CHANGES = 15

const CODE = `({ default: { fetch: (request, env) => new Response(env.WORD) } })`

/** One who deploys, rolls back, routes and deletes at random, and knows at each moment what may be answered. */
class Actor {
  readonly #stage: Stage
  readonly #random: Random
  /** By function: the word that its version answers; null: there is no such function. */
  readonly functions = new Map<string, Ledger<string | null>>()
  /** By hostname: the function; null: none. */
  readonly routes = new Map<string, Ledger<string | null>>()
  /** By function: word → version that has been uploaded. */
  readonly #versions = new Map<string, Map<string, string>>()
  #count = 0

  constructor(stage: Stage, random: Random, name: string) {
    this.#stage = stage
    this.#random = random
    for (let i = 0; i < EACH; i++) {
      this.functions.set(`${name}-${i}`, new Ledger<string | null>(null))
      this.routes.set(`${name}-${i}.changes.test`, new Ledger<string | null>(null))
      this.#versions.set(`${name}-${i}`, new Map())
    }
  }

  async begin(): Promise<void> {
    for (const fn of this.functions.keys()) await this.#deploy(fn)
    for (const host of this.routes.keys()) await this.#route(host)
  }

  async change(): Promise<void> {
    const fn = this.#random.pick([...this.functions.keys()])
    const host = this.#random.pick([...this.routes.keys()])
    const isThere = this.functions.get(fn)!.now[0] !== null
    const roll = this.#random.below(10)
    if (!isThere || roll < 3) await this.#deploy(fn)
    else if (roll < 5) await this.#rollBack(fn)
    else if (roll < 6) await this.#split(fn)
    else if (roll < 8) await this.#route(host)
    else if (roll < 9) await this.#unroute(host)
    else await this.#delete(fn)
  }

  async #upload(fn: string): Promise<[word: string, version: string]> {
    const word = `${fn}/${++this.#count}`
    const client = await this.#stage.client()
    const body = form({ vars: { WORD: word } }, bundleOf(CODE))
    const { version } = await client.call<{ version: { id: string } }>(functionPath(fn, '/versions'), { method: 'POST', body })
    this.#versions.get(fn)!.set(word, version.id)
    return [word, version.id]
  }

  async #deploy(fn: string): Promise<void> {
    const [word, version] = await this.#upload(fn)
    await this.functions.get(fn)!.during([word], () => this.#stage.activate(fn, version))
  }

  async #rollBack(fn: string): Promise<void> {
    const [word, version] = this.#random.pick([...this.#versions.get(fn)!])
    await this.functions.get(fn)!.during([word], () => this.#stage.activate(fn, version))
  }

  async #split(fn: string): Promise<void> {
    const [word, version] = await this.#upload(fn)
    const others = [...this.#versions.get(fn)!].filter(([other]) => other !== word)
    if (others.length === 0) return
    const [old, oldVersion] = this.#random.pick(others)
    const versions = [
      { id: version, percent: 50 },
      { id: oldVersion, percent: 50 },
    ]
    const client = await this.#stage.client()
    const split = () => client.call(functionPath(fn, '/deployment'), { method: 'PUT', json: { versions } })
    await this.functions.get(fn)!.during([word, old], split)
  }

  async #route(host: string): Promise<void> {
    const there = [...this.functions].filter(([, ledger]) => ledger.now[0] !== null)
    if (there.length === 0) return
    const [fn] = this.#random.pick(there)
    const client = await this.#stage.client()
    await this.routes.get(host)!.during([fn], () => client.call(`/v1/routes/${host}`, { method: 'PUT', json: { function: fn } }))
  }

  async #unroute(host: string): Promise<void> {
    const ledger = this.routes.get(host)!
    if (ledger.now[0] === null) return
    const client = await this.#stage.client()
    await ledger.during([null], () => client.call(`/v1/routes/${host}`, { method: 'DELETE' }))
  }

  /** With its routes. */
  async #delete(fn: string): Promise<void> {
    const client = await this.#stage.client()
    const routed = [...this.routes.values()].filter(({ now }) => now[0] === fn)
    this.#versions.get(fn)!.clear()
    let remove = () => this.functions.get(fn)!.during([null], () => client.call(functionPath(fn), { method: 'DELETE' }))
    for (const ledger of routed) {
      const inner = remove
      remove = () => ledger.during([null], inner)
    }
    await remove()
  }

  /** '' when this may have been the answer at some moment of that time. */
  judge(host: string, word: string | null, from: number, until: number): string {
    const functions = this.routes.get(host)!.between(from, until)
    const words = functions.flatMap((fn) => (fn === null ? [null] : this.functions.get(fn)!.between(from, until)))
    return words.includes(word) ? '' : `${word}, where ${JSON.stringify(words)} could be`
  }
}

export const CHANGES_UNDER_LOAD: Scenario = {
  name: 'random deploys, rollbacks, splits, routes and deletes: every answer is of what was there at that time',
  async run(stage) {
    const stable = stage.load.mark()
    const names = Array.from({ length: ACTORS }, (_, i) => `actor-${i}-${stage.random.below(1e6)}`)
    const actors = names.map((name) => new Actor(stage, new Random(stage.random.below(1e9)), name))
    await Promise.all(actors.map((actor) => actor.begin()))
    const questions = actors.flatMap((actor) =>
      [...actor.routes.keys()].map((host) => () => ({
        host,
        path: '/',
        check: ({ status, text, sentAt, answeredAt }: { status: number; text: string; sentAt: number; answeredAt: number }) => {
          if (status !== 200 && status !== 404) return `a status that it never has: ${text}`
          return actor.judge(host, status === 404 ? null : text, sentAt, answeredAt)
        },
      })),
    )
    const load = new Load(stage.served.port, questions, stage.random)
    try {
      await Promise.all(
        actors.map(async (actor) => {
          for (let i = 0; i < CHANGES; i++) await actor.change()
        }),
      )
      await load.goesOn(50)
    } finally {
      await load.stop()
    }
    assertOnly(load.failures, [])
    assertOnly(stable.failures(), [])
    assert.ok(load.answered > 100, `${load.answered} answers say little`)
  },
}
