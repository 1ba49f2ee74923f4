/** What can happen to a process that holds isolates, and what its parent makes of it. */
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { once } from 'node:events'
import { after, before, suite, test } from 'node:test'
import { promisify } from 'node:util'
import { CellFactory } from '../host/cell.ts'
import { silentLog } from '../host/log.ts'
import { Emit } from '../sandbox/protocol.ts'
import { fetchMessage, handler, Probe } from './sandbox/probe.ts'

const egress = { allow: [], deny: [] }
const child = (name: string) => join(import.meta.dirname, 'sandbox', name)

/** Gone, or a zombie that nobody has reaped: its parent was killed. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return !existsSync(`/proc/${pid}/stat`) || !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

async function untilGone(pid: number): Promise<void> {
  while (isAlive(pid)) await new Promise((resolve) => setTimeout(resolve, 10))
}

suite('a cell', { timeout: 180_000 }, () => {
  let factory: CellFactory
  before(() => {
    factory = new CellFactory({ egress, log: silentLog() })
  })
  after(() => factory.close())

  test('killed while it works: its sandboxes are lost, also one that loads, and the next one works', async () => {
    const working = new Probe(factory, handler('for (;;);'), { limits: { cpuMs: 60_000 } })
    await working.sandbox.ready
    working.send()
    const loading = new Probe(factory, 'new Promise(() => {})', { bundle: { async: true } })
    const [pid] = factory.pids
    process.kill(pid!, 'SIGKILL')
    assert.equal((await working.failure()).code, 'worker_lost')
    await assert.rejects(loading.sandbox.ready, { code: 'worker_lost' })
    working.send()
    working.sandbox.dispose()
    const next = new Probe(factory, handler(`return new Response('next')`))
    await next.sandbox.ready
    assert.equal(await next.get(), 'next')
    assert.notEqual(factory.pids.at(-1), pid)
    next.sandbox.dispose()
  })

  test('that holds a lost isolate is retired: what is in flight in it ends, new sandboxes are elsewhere, then it is killed', async () => {
    const probe = new Probe(
      factory,
      handler(
        `await new Promise((r) => { globalThis.finish = r; if (request.url.endsWith('/finish')) r() }); return new Response('done')`,
      ),
    )
    await probe.sandbox.ready
    const [pid] = factory.pids
    // V8 now and then stops such code in good time, or finds the Map too large: another try, then.
    while (probe.retired === 0) {
      const lost = new Probe(factory, handler('const map = new Map(); for (let i = 0; ; i++) map.set(i, i)'), {
        limits: { memoryMb: 64, cpuMs: 8_000 },
      })
      await lost.sandbox.ready
      const event = lost.send()
      await lost.until(() => lost.failures.length > 0 || lost.of(Emit.done, event).length > 0)
      lost.sandbox.dispose()
    }
    await probe.until(() => probe.retired === 1)
    assert.equal(await probe.get('/finish'), 'done')
    const next = new Probe(factory, handler(`return new Response('elsewhere')`))
    await next.sandbox.ready
    assert.equal(await next.get(), 'elsewhere')
    assert.ok(isAlive(pid!))
    probe.sandbox.dispose()
    await untilGone(pid!)
    next.sandbox.dispose()
  })

  test('that cannot stop an event: what had not begun is named, once, and the cell is retired', async () => {
    const own = new CellFactory({ egress, log: silentLog() })
    const other = new Probe(own, handler(`return new Response('other')`))
    await other.sandbox.ready
    const body = `if (request.url.endsWith('/2')) for (let b = 3n; ; ) b *= b; return new Response('fine')`
    const probe = new Probe(own, handler(body), { limits: { cpuMs: 30 } })
    await probe.sandbox.ready
    probe.sandbox.dispatch([1, 2, 3, 4].flatMap((event) => fetchMessage(event, `/${event}`)))
    const { code, notBegun } = await probe.failure()
    assert.deepEqual([code, notBegun], ['cpu_exceeded', [3, 4]])
    await other.until(() => other.retired === 1)
    assert.equal(await other.get(), 'other')
    await own.close()
  })

  test('sees nothing of its parent’s environment that could be a secret', async () => {
    process.env.SKEP_TEST_SECRET = 'secret'
    const own = new CellFactory({ egress, log: silentLog() })
    const probe = new Probe(own, handler('return new Response()'))
    await probe.sandbox.ready
    if (existsSync('/proc')) assert.doesNotMatch(readFileSync(`/proc/${own.pids[0]!}/environ`, 'utf8'), /SKEP_TEST_SECRET/)
    delete process.env.SKEP_TEST_SECRET
    const pid = own.pids[0]!
    await own.close()
    assert.equal(isAlive(pid), false)
    assert.throws(() => new Probe(own, ''), { code: 'draining' })
  })

  for (const state of ['idle', 'busy']) {
    test(`ends with its parent, ${state}`, async () => {
      const parent = spawn(process.execPath, [child('cell-parent.child.ts'), state], { stdio: ['ignore', 'pipe', 'inherit'] })
      const [line] = (await once(parent.stdout, 'data')) as [Buffer]
      const pid = Number(line.toString())
      assert.ok(isAlive(pid))
      parent.kill('SIGKILL')
      await untilGone(pid)
    })
  }

  test('V8 loses an isolate inline: the process and its other isolates go on, and it says that it wants replacing', async () => {
    const run = promisify(execFile)(process.execPath, ['--no-node-snapshot', child('catastrophe.child.ts')])
    const { stdout } = await run.catch((error: { stdout: string }) => error)
    assert.deepEqual(JSON.parse(stdout), {
      code: 'memory_exceeded',
      answers: ['still here', 'new ones too'],
      tainted: [['test/function', '1'.repeat(16), 'catastrophic']],
    })
  })
})
