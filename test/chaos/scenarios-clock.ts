import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { eventually } from '../served.ts'
import { handler } from '../sandbox/probe.ts'
import { hostOf } from './functions.ts'
import { assertLost } from './scenario.ts'
import type { Scenario } from './scenario.ts'
import type { Stage } from './stage.ts'

const HOUR = 3_600_000

/** The environment of a host whose calendar can be set; `file` says how far it is off. */
export function skewEnvironment(folder: string): NodeJS.ProcessEnv {
  return {
    NODE_OPTIONS: `${process.env['NODE_OPTIONS'] ?? ''} --import=${join(import.meta.dirname, 'skew.ts')}`,
    SKEP_SKEW: join(folder, 'skew'),
  }
}

/** Cells get no NODE_OPTIONS, so it is the supervisor's and the workers' calendar that jumps. */
async function jump(stage: Stage, file: string, ms: number): Promise<void> {
  writeFileSync(file, String(ms))
  for (const { pid, role } of stage.processes()) if (role !== 'cell') process.kill(pid, 'SIGUSR2')
  await eventually('functions see the jump', async () => {
    const told = await Promise.all(Array.from({ length: 8 }, () => stage.served.get(hostOf('clock'))))
    return told.every(({ text }) => Math.abs(Number(text) - Date.now() - ms) < 60_000)
  })
}

const CLOCK = handler('return new Response(String(Date.now()))')
/** Waits for longer than the jump takes, by a timer; and says how long it took on its own clock. */
const WAITS = handler(`await new Promise((resolve) => setTimeout(resolve, 1_500)); return new Response('waited')`)
const SAY = (word: string) => `({ default: { fetch: () => new Response('${word}') } })`

export function clockScenarios(file: string): Scenario[] {
  return [5 * HOUR, -7 * HOUR, 0].map((ms) => ({
    name: `the calendar jumps to ${ms / HOUR} hours off: nothing times out, no cache or timer hangs, tokens are believed`,
    async run(stage) {
      await stage.deploy('clock', CLOCK)
      await stage.deploy('waits', WAITS)
      await stage.deploy('jump', SAY('before'))
      assert.equal((await stage.served.get(hostOf('jump'))).text, 'before')
      const mark = stage.load.mark()
      const waiting = stage.served.get(hostOf('waits'))
      await sleep(200)
      await jump(stage, file, ms)
      const began = performance.now()
      assert.equal((await waiting).text, 'waited')
      assert.ok(performance.now() - began < 10_000, 'a timer hangs')
      // Every cache on the way asks again, the token's too.
      await stage.deploy('jump', SAY('after'))
      await eventually('both workers have the new version', async () => {
        const answers = await Promise.all(Array.from({ length: 8 }, () => stage.served.get(hostOf('jump'))))
        return answers.every(({ text }) => text === 'after')
      })
      // Back-off and the like: a worker that dies is started again.
      const [worker] = stage.processes('worker')
      process.kill(worker!.pid, 'SIGKILL')
      await stage.whole()
      assertLost(mark.failures(), ['cut'], stage.load.clients)
    },
  }))
}
