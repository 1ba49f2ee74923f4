import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { SkepError } from '../../host/errors.ts'
import { hostOf } from './functions.ts'
import { assertLost, assertOnly } from './scenario.ts'
import type { Scenario } from './scenario.ts'
import type { Stage } from './stage.ts'

/** A data folder on a small file system of its own, MB. */
export const DISK_MB = 24

/** Why there can be none, or undefined where it is mounted. */
export function mountDisk(folder: string): string | undefined {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_MB}m`, 'tmpfs', folder], { stdio: 'pipe' })
    return undefined
  } catch (error) {
    return `a tmpfs cannot be mounted here: ${(error as Error).message}`
  }
}

export function unmountDisk(folder: string): void {
  execFileSync('umount', ['-l', folder])
}

const say = (word: string) => `({ default: { fetch: () => new Response('${word}') } }) // ${'x'.repeat(2 << 20)}`

/** The code with which a deploy fails. */
async function deployFails(stage: Stage, name: string, word: string): Promise<string> {
  return stage.deploy(name, say(word)).then(
    () => 'it was deployed',
    (error: unknown) => (error instanceof SkepError ? error.code : String(error)),
  )
}

async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
}

export const DISK: Scenario[] = [
  {
    name: 'the disk is full: deploys are store_full, nothing half-written stays, functions go on; with room it deploys again',
    async run(stage) {
      await stage.deploy('disk', say('before'))
      const mark = stage.load.mark()
      const objects = join(stage.data, 'store/objects')
      const filler = join(stage.data, 'filler')
      for (let size = DISK_MB << 20; size >= 4096; size >>= 1) {
        await writeFile(filler, Buffer.alloc(size), { flag: 'a' }).catch(() => {})
      }
      const before = await filesIn(objects)
      assert.equal(await deployFails(stage, 'disk', 'after'), 'store_full')
      assert.equal(await deployFails(stage, 'disk-new', 'new'), 'store_full')
      assert.deepEqual(await filesIn(objects), before)
      assert.deepEqual(await readdir(join(stage.data, 'store/tmp')), [])
      await stage.load.goesOn(40)
      assert.equal((await stage.served.get(hostOf('disk'))).text, 'before')
      // A worker that starts now needs no room.
      const [worker] = stage.processes('worker')
      process.kill(worker!.pid, 'SIGKILL')
      await stage.whole()
      await rm(filler)
      await stage.deploy('disk', say('after'))
      assert.equal((await stage.served.get(hostOf('disk'))).text, 'after')
      assertLost(mark.failures(), ['cut'], stage.load.clients)
    },
  },
  {
    name: 'the file system becomes read-only: deploys fail with a code, functions go on; writable again, it deploys',
    async run(stage) {
      const mark = stage.load.mark()
      // The whole cannot be while the store's lock is open.
      const folders = ['objects', 'tmp'].map((name) => join(stage.data, 'store', name))
      for (const folder of folders) {
        execFileSync('mount', ['--bind', folder, folder])
        execFileSync('mount', ['-o', 'remount,ro,bind', folder])
      }
      try {
        assert.equal(await deployFails(stage, 'read-only', 'never'), 'store_unavailable')
        await stage.load.goesOn(40)
        const [worker] = stage.processes('worker')
        process.kill(worker!.pid, 'SIGKILL')
        await stage.whole()
      } finally {
        for (const folder of folders) unmountDisk(folder)
      }
      await stage.deploy('read-only', say('at last'))
      assert.equal((await stage.served.get(hostOf('read-only'))).text, 'at last')
      assertLost(mark.failures(), ['cut'], stage.load.clients)
    },
  },
  {
    name: 'the store goes away and comes back, as a volume that is unmounted: loaded functions go on, none is forgotten',
    async run(stage) {
      const mark = stage.load.mark()
      const [there, away] = [join(stage.data, 'store/objects'), join(stage.data, 'store/away')]
      execFileSync('mv', [there, away])
      try {
        assert.equal(await deployFails(stage, 'unmounted', 'never'), 'store_unavailable')
        await new Promise((resolve) => setTimeout(resolve, 2_500))
        await stage.load.goesOn(40)
        const unknown = await stage.served.get('nobody-asked-before.test')
        assert.equal(unknown.headers['skep-error'], 'store_unavailable')
      } finally {
        await rm(there, { recursive: true, force: true })
        execFileSync('mv', [away, there])
      }
      await stage.whole()
      await stage.deploy('unmounted', say('again'))
      assertOnly(mark.failures(), [])
    },
  },
]
