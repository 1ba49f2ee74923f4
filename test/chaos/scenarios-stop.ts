import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { eventually } from '../served.ts'
import { assertLost, assertOnly } from './scenario.ts'
import type { Scenario } from './scenario.ts'
import type { Stage } from './stage.ts'

/** How long a process is stopped, ms: longer than any route is used unasked. */
const STOPPED = 3_000

/** Stops a process for a while, unless it is replaced before. */
async function freeze(pid: number, ms = STOPPED): Promise<void> {
  process.kill(pid, 'SIGSTOP')
  await sleep(ms)
  try {
    process.kill(pid, 'SIGCONT')
  } catch {
    // Somebody found that it does not answer, and ended it.
  }
}

/** Answers on connections that are opened one after another: those that a stopped worker would get are not counted on. */
async function someAnswer(stage: Stage): Promise<void> {
  await eventually('new connections are answered', async () => {
    const answers = Array.from({ length: 8 }, () => stage.served.get('hello.chaos.test', '/x'))
    return (await Promise.race([...answers, sleep(2_000, undefined)]))?.text === 'hello /x'
  })
}

export const STOPS: Scenario[] = [
  {
    name: 'SIGSTOP of a worker: the other one answers; what waits for the stopped one is answered or cut, never wrong',
    async run(stage) {
      const [worker] = stage.processes('worker')
      const mark = stage.load.mark()
      const frozen = freeze(worker!.pid)
      await someAnswer(stage)
      await frozen
      await stage.whole()
      assertLost(mark.failures(), ['cut'], stage.load.clients)
    },
  },
  {
    name: 'SIGSTOP of a cell: what runs in it waits or is lost; then all is well',
    suits: ({ placement }) => placement === 'cell',
    async run(stage) {
      const [cell] = stage.cells()
      const mark = stage.load.mark()
      await freeze(cell!.pid)
      await stage.whole()
      assertLost(mark.failures(), ['worker_lost', 'timeout', 'cut'], stage.load.clients)
    },
  },
  {
    name: 'SIGSTOP of the supervisor: no function notices; once it goes on, it deploys',
    async run(stage) {
      const mark = stage.load.mark()
      const frozen = freeze(stage.served.process.pid!)
      await stage.load.goesOn(50)
      await frozen
      await stage.deploy('after', `({ default: { fetch: () => new Response('deployed') } })`)
      await stage.whole()
      assertOnly(mark.failures(), [])
    },
  },
  {
    name: 'SIGSTOP of the supervisor while a worker dies: the other one answers, and is joined again',
    async run(stage) {
      const [worker] = stage.processes('worker')
      const mark = stage.load.mark()
      const frozen = freeze(stage.served.process.pid!, 1_000)
      process.kill(worker!.pid, 'SIGKILL')
      await stage.load.goesOn(30)
      await frozen
      await stage.whole()
      assertLost(mark.failures(), ['cut'], stage.load.clients)
    },
  },
]

/** How long a stopped process may go unnoticed, ms: it may only be slow. */
const NOTICED = 40_000

/** These take long: whether a process only is slow shows after a while. */
export const LONG_STOPS: Scenario[] = [
  {
    name: 'SIGSTOP of a worker for good: it is replaced, and what waited for it is cut',
    async run(stage) {
      const [worker] = stage.processes('worker')
      const mark = stage.load.mark()
      process.kill(worker!.pid, 'SIGSTOP')
      await eventually('it is ended', async () => !stage.processes().some(({ pid }) => pid === worker!.pid), NOTICED)
      await stage.whole()
      assertLost(mark.failures(), ['cut', 'late'])
    },
  },
  {
    name: 'SIGSTOP of a cell for good: it is replaced, and what ran in it is lost',
    suits: ({ placement }) => placement === 'cell',
    async run(stage) {
      const [cell] = stage.cells()
      const mark = stage.load.mark()
      process.kill(cell!.pid, 'SIGSTOP')
      await eventually('it is ended', async () => !stage.processes().some(({ pid }) => pid === cell!.pid), NOTICED)
      await stage.whole()
      assertLost(mark.failures(), ['cut', 'late', 'worker_lost', 'timeout', 'overloaded'])
    },
  },
]

/** Processes that are stopped, and so cannot tell that their parent is gone, are ended by the kernel where it is asked to. */
export const STOPPED_CHILDREN: Scenario = {
  name: 'SIGSTOP of all children of the supervisor, which then dies: no stopped child stays behind',
  async run(stage) {
    const all = stage.processes().map(({ pid }) => pid)
    for (const { pid } of [...stage.processes('worker'), ...stage.processes('cell')]) process.kill(pid, 'SIGSTOP')
    stage.served.process.kill('SIGKILL')
    await stage.served.exited
    try {
      await eventually('every child is gone', async () => stage.processes().length === 0, 10_000)
    } finally {
      for (const { pid } of stage.processes()) process.kill(pid, 'SIGKILL')
    }
    assert.ok(all.length >= 3)
    await stage.start()
    await stage.whole()
  },
}
