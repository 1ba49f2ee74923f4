import { CONTAINED, handler, tries } from './attack.ts'
import type { Attack } from './attack.ts'

/** Clocks finer than a millisecond, or that run while code does: what timing attacks need. */

const contained = (name: string, body: string, more: Partial<Attack> = {}): Attack => ({
  name,
  source: tries(body),
  limits: { cpuMs: 1_000 },
  expect: 200,
  text: CONTAINED,
  ...more,
})

const WORK = 'for (let i = 0; i < 3e7; i++) Math.sqrt(i)'
/** A clock read before and after some work shows the same. */
const still = (name: string, read: string) =>
  contained(
    name,
    `const read = () => ${read}; const before = String(read()); ${WORK}; const after = String(read()); if (before !== after) found.push(before, after)`,
  )

export const clock: Attack[] = [
  still('Date.now', 'Date.now()'),
  still('new Date', '+new Date()'),
  still('Date called as a function', 'Date() + new Date().getMilliseconds()'),
  still('a subclass of Date', '(class extends Date {}).now() + +new (class extends Date {})()'),
  still('Date by its instance’s constructor', '+new (new Date(0).constructor)() + +Reflect.construct(Date, [])'),
  still('performance.now', 'performance.now()'),
  still('performance with timeOrigin', 'performance.timeOrigin + performance.now() + JSON.stringify(performance)'),
  still(
    'Intl.DateTimeFormat of nothing',
    `new Intl.DateTimeFormat('en', { fractionalSecondDigits: 3, second: 'numeric' }).format()`,
  ),
  still(
    'formatToParts of nothing',
    `JSON.stringify(new Intl.DateTimeFormat('en', { fractionalSecondDigits: 3, second: 'numeric' }).formatToParts())`,
  ),
  still('toLocaleString of the present', `new Date().toLocaleTimeString('en', { fractionalSecondDigits: 3 })`),
  still('the time stamp of an event', `new Event('x').timeStamp`),
  still('Temporal', `globalThis.Temporal?.Now?.instant?.().epochNanoseconds ?? 'none'`),
  still('console.time', `(console.time('x'), console.timeLog('x'), 0)`),
  contained(
    'whole milliseconds',
    `for (const v of [Date.now(), performance.now(), performance.timeOrigin, new Event('x').timeStamp, +new Date()]) if (!Number.isInteger(v)) found.push(v)
    await new Promise((r) => setTimeout(r, 3)); for (const v of [Date.now(), performance.now(), new Event('x').timeStamp]) if (!Number.isInteger(v)) found.push(v)`,
  ),
  contained(
    'shared memory that another thread counts in',
    `if (typeof SharedArrayBuffer !== 'undefined') found.push('SharedArrayBuffer'); if (typeof Worker !== 'undefined') found.push('Worker')
    try { const m = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }); if (m.buffer.constructor.name === 'SharedArrayBuffer') found.push('shared wasm memory') } catch {}`,
  ),
  contained(
    'waits',
    `if (typeof Atomics === 'object') for (const k of ['wait', 'waitAsync', 'pause']) if (k !== 'pause' && typeof Atomics[k] === 'function') found.push(k)
    try { Atomics.wait(new Int32Array(new ArrayBuffer(4)), 0, 0, 10); found.push('waited') } catch {}`,
  ),
  contained(
    'microtasks as ticks',
    `const before = Date.now(); let n = 0; for (; n < 200_000; n++) await null; if (Date.now() !== before) found.push(n)`,
  ),
  contained(
    'a clock that goes back',
    `let last = 0; for (let i = 0; i < 20; i++) { await new Promise((r) => setTimeout(r, 1)); const now = performance.now(); if (now < last) found.push(last, now); last = now }`,
  ),
  {
    name: 'the clock of the log',
    source: handler(`console.time('x'); ${WORK}; console.timeEnd('x'); return new Response('done')`),
    limits: { cpuMs: 1_000 },
    expect: 200,
    run: async (scene, host) => {
      await scene.send(host)
      const line = await scene.logged(host, /x: /)
      return /x: 0(\.0+)? ?ms/.test(line) ? '' : `the log tells a time: ${line}`
    },
  },
]
