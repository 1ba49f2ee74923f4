import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createContext, runInContext } from 'node:vm'
import { createInlineFactory } from '../../sandbox/inline.ts'
import { handler, Probe } from '../sandbox/probe.ts'

/** Calls every function around time, numbers and the host, without arguments and as a constructor, and says what each gave. */
const READ = `
const spared = new Set(['fetch', 'reportError', 'setTimeout', 'setInterval', 'trace'])
function readings() {
  const all = new Map(), seen = new Set()
  const visit = (value, path, owner) => {
    if ((typeof value !== 'object' || value === null) && typeof value !== 'function') return
    if (seen.has(value)) return
    seen.add(value)
    const note = (how, read) => {
      let result
      try { result = read() } catch (error) { result = error }
      if (result instanceof Promise) Promise.prototype.then.call(result, null, () => {})
      if (path.includes('DateTimeFormat') && typeof result === 'function') try { result = result() } catch {}
      if (Array.isArray(result)) result = JSON.stringify(result)
      if (result instanceof Date) result = result.getTime()
      if (['number', 'string', 'bigint'].includes(typeof result)) all.set(path + how, String(result))
      else if (result instanceof Error) all.set(path + how, String(result.message))
    }
    if (typeof value === 'function' && !spared.has(value.name)) {
      note('()', () => value()); note(' of owner', () => Reflect.apply(value, owner, [])); note(' new', () => Reflect.construct(value, []))
      note(' of date', () => Reflect.apply(value, new Date(), [])); note(' of format', () => Reflect.apply(value, formatter, [])); note(' of event', () => Reflect.apply(value, new Event('x'), []))
    }
    for (const key of Reflect.ownKeys(value)) {
      const d = Object.getOwnPropertyDescriptor(value, key)
      for (const part of [d.value, d.get, d.set]) visit(part, path + '.' + String(key), value)
    }
  }
  // What they all inherit from tells no time, and calling it on everything takes long.
  for (const shared of [Object, Function, Object.prototype, Function.prototype, Array.prototype, Iterator.prototype]) seen.add(shared)
  for (const [name, root] of Object.entries({ Date, Intl, Math, Atomics: globalThis.Atomics, performance: globalThis.performance, Event, crypto: globalThis.crypto, Error, Symbol, ArrayBuffer })) visit(root, name)
  return all
}
function moving(spin) {
  const before = readings()
  spin()
  const after = readings()
  return [...before].filter(([path, value]) => after.has(path) && after.get(path) !== value).map(([path]) => path)
}`
const SPIN = `const formatter = new Intl.DateTimeFormat('en', { fractionalSecondDigits: 3, second: 'numeric', minute: 'numeric', hour: 'numeric', timeZone: 'UTC' }); ${READ}`

test('no function tells that time passes while code runs', { timeout: 60_000 }, async () => {
  const factory = await createInlineFactory({
    egress: { allow: [], deny: [] },
    tainted: (taint) => assert.fail(JSON.stringify(taint)),
  })
  const code = handler(`return Response.json(moving(() => { for (let i = 0; i < 3e7; i++) Math.sqrt(i) }))`, SPIN)
  const probe = new Probe(factory, code, { limits: { cpuMs: 20_000 } })
  await probe.sandbox.ready
  const ended = probe.failure().then((failure) => assert.fail(failure.message))
  const moves = JSON.parse(await Promise.race([probe.get(), ended])) as string[]
  // Random numbers are what they should be.
  assert.deepEqual(
    moves.filter((path) => !/(random|randomUUID)\b/i.test(path)),
    [],
  )
  assert.ok(moves.some((path) => path.includes('random')))
  probe.sandbox.dispose()
  await factory.close()
})

test('the search does find a clock', () => {
  const context = createContext({ sleep: () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20) })
  context.Event = function () {}
  const found = runInContext(`${SPIN}; moving(sleep).join()`, context, { timeout: 10_000 }) as string
  assert.match(found, /Date\.now/)
  assert.match(found, /DateTimeFormat/)
})

test('every clock shows the same whole millisecond', { timeout: 20_000 }, async () => {
  const factory = await createInlineFactory({
    egress: { allow: [], deny: [] },
    tainted: (taint) => assert.fail(JSON.stringify(taint)),
  })
  const code = handler(`
    const parts = { year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 3, hourCycle: 'h23', timeZone: 'UTC' }
    const format = new Intl.DateTimeFormat('en', parts)
    const now = Date.now(), epoch = (f) => f.formatToParts().map((p) => p.value).join('')
    let range; try { range = format.formatRange() } catch (e) { range = e.name }
    return Response.json({ now, all: [+new Date(), new Date().getTime(), Date.parse(Date() ) - (Date.parse(Date()) % 1000 - 0) === now - (now % 1000) ? now : 'Date()', performance.timeOrigin + performance.now(), performance.timeOrigin + new Event('x').timeStamp, +Reflect.construct(Date, []), +new (class extends Date {})()],
      text: [format.format() === format.format(now), format.format.call(null) === format.format(now), epoch(format) === format.formatToParts(now).map((p) => p.value).join(''), new Date().toLocaleString('en') === new Date(now).toLocaleString('en')], range,
      absent: [typeof Temporal, typeof Atomics.wait, typeof Atomics.waitAsync, typeof performance.mark, typeof performance.measure] })`)
  const probe = new Probe(factory, code)
  await probe.sandbox.ready
  const { now, all, text, range, absent } = JSON.parse(await probe.get()) as Record<string, unknown[]> & { now: number }
  assert.ok(Number.isInteger(now))
  for (const value of all!) assert.equal(value, now)
  assert.deepEqual(text, [true, true, true, true])
  assert.equal(range, 'TypeError')
  assert.deepEqual(absent, Array(5).fill('undefined'))
  probe.sandbox.dispose()
  await factory.close()
})
