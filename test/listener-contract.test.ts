/** One contract for every listener and what its clients speak. Raw bytes that no client would send are in listener-raw.test.ts. */
import { after, before, describe } from 'node:test'
import { answerCases } from './listener/answers.ts'
import { bodyCases } from './listener/bodies.ts'
import { drainCases } from './listener/drain.ts'
import { flowCases } from './listener/flow.ts'
import { requestCases } from './listener/requests.ts'
import { slowCases } from './listener/slow.ts'
import { CARRIERS, Stage, whyNot } from './listener/stage.ts'

for (const carrier of CARRIERS) {
  describe(`${carrier} listener`, { skip: whyNot(carrier), concurrency: false, timeout: 120_000 }, () => {
    const stage = new Stage(carrier)
    before(() => stage.begin())
    after(() => stage.finish())
    requestCases(stage)
    answerCases(stage)
    bodyCases(stage)
    if (carrier !== 'h2') flowCases(stage)
    drainCases(stage)
  })
}

describe('clients that dawdle are cut', { concurrency: true, timeout: 90_000 }, slowCases)
