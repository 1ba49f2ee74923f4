import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, suite, test } from 'node:test'
import { createContext, runInContext } from 'node:vm'
import { createInlineFactory } from '../../sandbox/inline.ts'
import type { SandboxFactory } from '../../sandbox/sandbox.ts'
import { handler, Probe } from '../sandbox/probe.ts'
import { OTHER_ADVISORIES } from './advisories-others.ts'
import { VM2_ADVISORIES } from './advisories-vm2.ts'

const loot = readFileSync(`${import.meta.dirname}/loot.guest.js`, 'utf8')
const all = [...VM2_ADVISORIES, ...OTHER_ADVISORIES]

/** Published escapes of other sandboxes, each tried in a real isolate by way of the real protocol. */
suite('known escapes', { timeout: 120_000 }, () => {
  let factory: SandboxFactory
  before(async () => {
    factory = await createInlineFactory({
      egress: { allow: [], deny: [] },
      tainted: (taint) => assert.fail(`tainted: ${JSON.stringify(taint)}`),
    })
  })
  after(() => factory.close())

  for (const { ids, package: name, how, code, looks = 1 } of all) {
    test(`${ids.join(', ')} (${name}): ${how}`, { timeout: 20_000 }, async () => {
      const body = `const TheResponse = Response, toJson = JSON.stringify; let thrown
        try { ${code} } catch (error) { thrown = String(error?.stack ?? error) }
        const { seen, escaped } = verdict()
        return new TheResponse(toJson({ seen, escaped, thrown }))`
      const probe = new Probe(factory, handler(body, loot), { limits: { memoryMb: 64 } })
      await probe.sandbox.ready
      const ended = probe.failure().then((failure) => assert.fail(`${failure.code}: ${failure.message}`))
      const { seen, escaped, thrown } = JSON.parse(await Promise.race([probe.get('/', { body: 'text' }), ended])) as Verdict
      assert.deepEqual(escaped, [], `${thrown}`)
      assert.ok(seen >= looks, `it looked at ${seen} values only: ${thrown}`)
      assert.deepEqual(probe.failures, [])
      for (const target of [Object.prototype, Array.prototype, Function.prototype])
        assert.ok(!('polluted' in target), 'a prototype of the host was written to')
      probe.sandbox.dispose()
    })
  }

  test('they are many, and none is listed twice', () => {
    const ids = all.flatMap((advisory) => advisory.ids)
    assert.equal(new Set(ids).size, ids.length)
    assert.ok(ids.length >= 70 && all.length >= 50, `${all.length} with ${ids.length} numbers`)
    for (const id of ids) assert.match(id, /^(CVE-20\d\d-\d{4,}|GHSA(-[2-9cfghjmpqrvwx]{4}){3}|WS-2019-0284)$/)
  })

  test('the detector does find a host where there is one', () => {
    const context = createContext({ host: { a: 1 }, hostFunction: () => {} })
    const code = `${loot}\n const result = (value) => { escaped.length = 0; loot(value); return escaped.join() }`
    runInContext(code, context)
    assert.match(runInContext('result(host)', context) as string, /another realm/)
    assert.match(runInContext('result(hostFunction)', context) as string, /process/)
    assert.equal(runInContext('result(null)', context), '')
  })
})

interface Verdict {
  seen: number
  escaped: string[]
  thrown?: string
}
