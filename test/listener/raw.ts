/** Bytes as they are: what comes back on one connection, in order, until it closes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { collect, type Handler, Stage } from './stage.ts'

/**
 * What comes back: `200 GET /path body` of each request that was served, `400 bad_request` of one that was refused.
 * `alone: …` is what comes when nothing is sent behind it; with something, the connection is cut. `waits`: nothing comes,
 * until the connection has been idle for too long. `big: …`: the client may see the cut before it sees the answer, because
 * it was still sending.
 */
export type Outcome = string

/**
 * A name, the bytes of one request or several, and what comes back. Two outcomes where uWebSockets answers by itself
 * (without a code), or takes what llhttp does not: first its own, then node:http's.
 */
export type RawCase = [name: string, bytes: string, outcome: Outcome, node?: Outcome]

/** It closes the connection, so that everything ends. Of a case where it is not served, nothing behind it was either. */
const LAST = 'GET /last HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n'
const SERVED = '200 GET /last'

/** Says what it was asked. */
export const echo: Handler = (exchange) => {
  const { method, url, bodyLength } = exchange
  const target = url.replace(/^https?:/, '').replace(/^\/\/a\.test(?=\/)/, '')
  const answer = (body: string) => exchange.respond(200, [], `${method} ${target}${body === '' ? '' : ` ${body}`}`)
  if (bodyLength === 0) return answer('')
  collect(exchange).then(
    (body) => answer(body.toString('latin1')),
    () => {},
  )
}

/** Sends the bytes and what is behind them; all that comes until the connection closes. */
export async function outcome(stage: Stage, bytes: string, behind = LAST): Promise<Outcome> {
  const client = await stage.raw()
  client.send(bytes + behind)
  const seen: string[] = []
  for (;;) {
    const answer = await client.answer({ head: bytes.startsWith('HEAD') && seen.length === 0 })
    if (answer === undefined) break
    const code = answer.headers.get('skep-error')?.[0]
    const ok = answer.status === 200 ? answer.body.toString('latin1') : (code ?? '')
    seen.push(`${answer.status} ${ok}${answer.whole ? '' : ' (broken)'}`.trim())
  }
  await client.closed()
  assert.equal(client.received.length, 0)
  return seen.join(', ')
}

/** Each case on a connection of its own; then the listener still serves. */
export function rawCases(stage: Stage, cases: RawCase[]): void {
  const slow: RawCase[] = []
  for (const [name, bytes, uws, node = uws] of cases) {
    const expected = stage.carrier === 'uws' ? uws : node
    if (expected === 'waits') {
      slow.push([name, bytes, ''])
      continue
    }
    test(name, async () => {
      stage.handler = echo
      const [, alone] = /^alone: (.*)/.exec(expected) ?? []
      const [, big] = /^big: (.*)/.exec(expected) ?? []
      const seen = await outcome(stage, bytes)
      if (big !== undefined) assert.ok(seen === big || seen === '', seen)
      else assert.equal(seen, alone === undefined ? expected : '')
      if (alone !== undefined) assert.equal(await outcome(stage, bytes, ''), alone)
      assert.equal(await outcome(stage, ''), SERVED)
    })
  }
  if (slow.length === 0) return
  test('what is no request yet is waited for, and then cut', async () => {
    const own = new Stage(stage.carrier, { maxConnections: 100, idleMs: 4_000 })
    await own.begin()
    own.handler = echo
    const seen = await Promise.all(slow.map(async ([name, bytes]) => [name, bytes, await outcome(own, bytes)]))
    assert.deepEqual(seen, slow)
    await own.finish()
  })
}
