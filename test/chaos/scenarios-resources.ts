import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { handler } from '../sandbox/probe.ts'
import { eventually } from '../served.ts'
import { hostOf } from './functions.ts'
import { assertLost, assertOnly } from './scenario.ts'
import type { Scenario } from './scenario.ts'
import { sampleOf } from './series.ts'
import type { Stage } from './stage.ts'

/** Lets a process open so many more descriptors; undefined lifts the bound, which is of their numbers. */
function boundDescriptors(pid: number, more: number | undefined): void {
  let most = 20_000
  if (more !== undefined) {
    const taken = new Set(readdirSync(`/proc/${pid}/fd`).map(Number))
    most = 0
    for (let free = 0; free < more || taken.has(most); most++) if (!taken.has(most)) free++
  }
  execFileSync('prlimit', ['--pid', String(pid), `--nofile=${most}:`])
}

async function flood(stage: Stage, count: number): Promise<Socket[]> {
  return Promise.all(
    Array.from({ length: count }, async () => {
      const socket = connect(stage.served.port, '127.0.0.1')
      socket.on('error', () => {})
      await new Promise((resolve) => socket.once('connect', resolve))
      return socket
    }),
  )
}

export const RESOURCES: Scenario[] = [
  {
    name: 'workers run out of file descriptors: connections that are open are served, none dies, and it is whole with room again',
    async run(stage) {
      const workers = stage.processes('worker').map(({ pid }) => pid)
      const mark = stage.load.mark()
      for (const pid of workers) boundDescriptors(pid, 8)
      const sockets = await flood(stage, 60)
      await stage.load.goesOn(20)
      assert.deepEqual(
        stage.processes('worker').map(({ pid }) => pid),
        workers,
        'a worker died of it',
      )
      for (const socket of sockets) socket.destroy()
      for (const pid of workers) boundDescriptors(pid, undefined)
      await stage.whole()
      // What a worker has not loaded yet it cannot read now.
      assertOnly(mark.failures(), ['store_unavailable'])
    },
  },
  {
    name: 'the supervisor runs out of file descriptors while a worker dies: it lives, and starts one when it can',
    async run(stage) {
      const supervisor = stage.served.process.pid!
      const mark = stage.load.mark()
      boundDescriptors(supervisor, 0)
      const [worker] = stage.processes('worker')
      process.kill(worker!.pid, 'SIGKILL')
      // Some tries to start one fail meanwhile, and callers of the API.
      const code = `({ default: { fetch: () => new Response() } })`
      await Promise.allSettled(Array.from({ length: 10 }, () => stage.deploy('no-room', code)))
      await stage.served.logged(/a worker could not be started/)
      await stage.load.goesOn(20)
      boundDescriptors(supervisor, undefined)
      await stage.whole()
      await stage.deploy('room', `({ default: { fetch: () => new Response('room') } })`)
      assert.equal((await stage.served.get(hostOf('room'))).text, 'room')
      assert.equal(stage.served.process.exitCode, null)
      assertLost(mark.failures(), ['cut'], stage.load.clients)
    },
  },
]

/** A memory cgroup of our own, v1 or v2; undefined where none may be made. */
export function makeCgroup(bytes: number): { add(pid: number): void; remove(): void } | undefined {
  for (const [root, limit] of [
    ['/sys/fs/cgroup/memory', 'memory.limit_in_bytes'],
    ['/sys/fs/cgroup', 'memory.max'],
  ] as const) {
    const folder = `${root}/skep-chaos-${process.pid}`
    try {
      mkdirSync(folder)
    } catch {
      continue
    }
    try {
      writeFileSync(`${folder}/${limit}`, String(bytes))
      return { add: (pid) => writeFileSync(`${folder}/cgroup.procs`, String(pid)), remove: () => rmdirSync(folder) }
    } catch {
      rmdirSync(folder)
    }
  }
  return undefined
}

const HOARD = handler(
  `const all = []; for (let i = 0; i < 100; i++) all.push(new Uint8Array(1 << 20).fill(i)); return new Response('' + all.length)`,
)

/** The kernel ends a worker whose memory cgroup is full. */
export const OUT_OF_MEMORY: Scenario = {
  name: 'the kernel kills a worker that is out of memory: it is started again, the other one answers meanwhile',
  async run(stage) {
    await stage.deploy('hoard', HOARD)
    const mark = stage.load.mark()
    const [worker] = stage.processes('worker')
    const cgroup = makeCgroup(24 << 20)!
    try {
      // What it has so far is charged to where it was; what it takes from now on counts.
      cgroup.add(worker!.pid)
      await eventually(
        'the worker is killed',
        async () => {
          await Promise.allSettled(Array.from({ length: 8 }, () => stage.served.get(hostOf('hoard'))))
          return sampleOf(worker!.pid) === undefined
        },
        20_000,
      )
      await stage.whole()
    } finally {
      await eventually('the cgroup is empty', async () => tryTo(() => cgroup.remove()))
    }
    assertLost(mark.failures(), ['cut'], stage.load.clients)
  },
}

function tryTo(act: () => void): boolean {
  try {
    act()
    return true
  } catch {
    return false
  }
}
