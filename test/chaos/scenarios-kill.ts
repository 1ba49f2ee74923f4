import assert from 'node:assert/strict'
import { eventually } from '../served.ts'
import { assertLost, assertOnly, CUT, LOST } from './scenario.ts'
import type { Scenario } from './scenario.ts'
import type { Stage } from './stage.ts'

/** How long it may take until all children of a killed process are gone, ms. */
const ORPHANED = 10_000

export const KILLS: Scenario[] = [
  {
    name: 'kill -9 of one worker after the other cuts what was on it and nothing else',
    async run(stage) {
      for (const { pid } of stage.processes('worker')) {
        const mark = stage.load.mark()
        const cells = stage.processes('cell').filter(({ parent }) => parent === pid)
        process.kill(pid, 'SIGKILL')
        await stage.whole()
        assert.ok(!stage.processes().some((one) => one.pid === pid || cells.some((cell) => cell.pid === one.pid)))
        // Each client has one request under way. One that is still in the accept queue is cut too.
        assertLost(mark.failures(), CUT, stage.load.clients)
      }
    },
  },
  {
    name: 'kill -9 of all workers at once: they come back, and their cells are gone',
    async run(stage) {
      const mark = stage.load.mark()
      const before = stage.processes('worker').map(({ pid }) => pid)
      const cells = stage.cells().map(({ pid }) => pid)
      for (const pid of before) process.kill(pid, 'SIGKILL')
      await stage.whole()
      assert.ok(!stage.processes().some(({ pid }) => before.includes(pid) || cells.includes(pid)))
      assertLost(mark.failures(), ['cut', 'refused'])
      // Whose connection to the one is cut may have come to the other next.
      assertOnly(
        mark.failures().filter(({ kind }) => kind === 'cut'),
        CUT,
        2 * stage.load.clients,
      )
    },
  },
  {
    name: 'kill -9 of one cell after the other loses what ran in it and nothing else',
    suits: ({ placement }) => placement === 'cell',
    async run(stage) {
      for (const { pid } of stage.cells()) {
        const mark = stage.load.mark()
        process.kill(pid, 'SIGKILL')
        await eventually('the cell is gone', async () => !stage.cells().some((cell) => cell.pid === pid))
        await stage.whole()
        assertLost(mark.failures(), LOST, stage.load.clients)
      }
    },
  },
  {
    name: 'kill -9 of all cells at once, those for uploads too',
    suits: ({ placement }) => placement === 'cell',
    async run(stage) {
      const mark = stage.load.mark()
      for (const { pid } of stage.processes('cell')) process.kill(pid, 'SIGKILL')
      await stage.whole()
      await stage.deploy('after', DEPLOYED)
      assertLost(mark.failures(), LOST, stage.load.clients)
    },
  },
  {
    name: 'kill -9 of the supervisor ends all its children; a new one on the same folder serves at once',
    async run(stage) {
      const mark = stage.load.mark()
      const family = stage.processes().map(({ pid }) => pid)
      await killSupervisor(stage)
      await eventually('every child is gone', async () => stage.processes().length === 0, ORPHANED)
      assert.ok(family.length >= 3, `a supervisor and two workers at least: ${family.length}`)
      await stage.start()
      // Writing needs the store's lock, which the killed one may have held.
      await stage.deploy('after', DEPLOYED)
      await stage.whole()
      assertLost(mark.failures(), ['cut', 'refused'])
    },
  },
  {
    name: 'kill -9 of the supervisor in the midst of deploys: the store is sound, and takes them again',
    async run(stage) {
      const deploys = Array.from({ length: 4 }, (_, i) =>
        stage.deploy(`cut-${i}`, DEPLOYED).then(
          () => true,
          () => false,
        ),
      )
      // Some of them are on their way by now; which, is chance.
      await new Promise((resolve) => setTimeout(resolve, stage.random.below(60)))
      await killSupervisor(stage)
      await Promise.all(deploys)
      await eventually('every child is gone', async () => stage.processes().length === 0, ORPHANED)
      await stage.start()
      for (let i = 0; i < 4; i++) {
        await stage.deploy(`cut-${i}`, DEPLOYED)
        assert.equal((await stage.served.get(`cut-${i}.chaos.test`)).text, 'deployed')
      }
      await stage.whole()
    },
  },
]

const DEPLOYED = `({ default: { fetch: () => new Response('deployed') } })`

async function killSupervisor(stage: Stage): Promise<void> {
  stage.served.process.kill('SIGKILL')
  await stage.served.exited
}
