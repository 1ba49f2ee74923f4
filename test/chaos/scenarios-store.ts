import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { eventually } from '../served.ts'
import { hostOf } from './functions.ts'
import type { Mischief } from './proxy.ts'
import { assertOnly } from './scenario.ts'
import type { Scenario } from './scenario.ts'
import type { Stage } from './stage.ts'

/** Longer than any route is used without asking the store. */
const AWAY = 2_500

const isS3: Scenario['suits'] = ({ store }) => store === 's3'

/** Deploys a function that nobody has loaded, does harm, and says what a first request is answered meanwhile. */
async function during(
  stage: Stage,
  name: string,
  harm: () => Promise<void> | void,
  mend: () => Promise<void> | void,
): Promise<void> {
  const word = `${name}-${stage.random.below(1e9)}`
  const version = await stage.deploy(name, COLD, { WORD: word })
  const cold = () => stage.served.get(hostOf(name))
  const mark = stage.load.mark()
  await harm()
  const waiting = cold()
  await sleep(AWAY)
  await stage.load.goesOn(40)
  await mend()
  // It may have waited until now, and longer where the store only seemed to answer.
  const first = await waiting
  assert.ok(isRight(first, word) || AWAY_CODES.includes(first.headers['skep-error']), JSON.stringify(first))
  await eventually('the new function answers', async () => isRight(await cold(), word), 20_000)
  await eventually(
    'deploys work',
    () =>
      stage.activate(name, version).then(
        () => true,
        () => false,
      ),
    30_000,
  )
  await stage.whole()
  // Loaded functions need no store.
  assertOnly(mark.failures(), [])
}

/** What came over a network that changes bytes may be no record or bundle. */
const AWAY_CODES: unknown[] = ['store_unavailable', 'store_corrupt']

const COLD = `({ default: { fetch: (request, env) => new Response(env.WORD) } })`

function isRight(answer: { status: number; text: string }, word: string): boolean {
  if (answer.status === 200) assert.equal(answer.text, word, 'a wrong bundle or a wrong environment')
  return answer.status === 200
}

const network = (kind: Mischief): Scenario => ({
  name: `the store's network: ${kind}; loaded functions answer, others are right or say that the store is away`,
  suits: isS3,
  run: (stage) =>
    during(
      stage,
      `net-${kind}`,
      () => stage.proxy!.mischief(kind),
      () => stage.proxy!.mischief('none'),
    ),
})

export const STORE: Scenario[] = [
  ...(['reset', 'blackhole', 'delay', 'truncate', 'drip', 'garble'] as const).map(network),
  {
    name: 'kill -9 of S3 and its return',
    suits: isS3,
    run: (stage) =>
      during(
        stage,
        'killed',
        () => stage.s3!.kill(),
        () => stage.s3!.restart(),
      ),
  },
  {
    name: 'SIGSTOP of S3 and its return',
    suits: isS3,
    run: (stage) =>
      during(
        stage,
        'stopped',
        () => stage.s3!.pause(),
        () => stage.s3!.resume(),
      ),
  },
]
