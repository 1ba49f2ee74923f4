/**
 * In place of the prelude, in a real isolate: what a tenant could do who had got hold of all of it. A request's URL says
 * how: `http://a.test/KIND/SEED/COUNT`. It emits so many batches of what isolated-vm can and cannot copy, and then answers
 * whatever it still holds.
 *
 * No shared memory is among it: what isolated-vm 7.0.1 has copied out of that is freed wrongly once its isolate is disposed
 * of, and the process ends. That no function gets hold of any is for the prelude to see to.
 */
globalThis.__skep = {
  flush() {},
  collect() {},
  connect(emit, options, progress) {
    const held = new Map()
    let state = 1
    const next = () => {
      state = (state + 0x6d2b79f5) >>> 0
      let t = Math.imul(state ^ (state >>> 15), state | 1)
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296
    }
    const int = (below) => Math.floor(next() * below)
    const pick = (list) => list[int(list.length)]

    const bytes = () => {
      const shared = new Uint8Array(64)
      return pick([
        () => new Uint8Array(int(100)),
        () => new Uint8Array(new ArrayBuffer(100), 50, 10),
        () => new Uint8Array(new ArrayBuffer(8, { maxByteLength: 64 })),
        () => shared.subarray(3, 9),
        () => new (class extends Uint8Array {})(5),
        () => Object.assign(new Uint8Array(4), { extra: 1 }),
        () => new Uint8Array(0),
      ])()
    }
    const gone = () => {
      const view = new Uint8Array(8)
      view.buffer.transfer()
      return view
    }
    const deep = () => {
      let value = []
      for (let i = int(300); i > 0; i--) value = [value]
      return value
    }
    const cyclic = () => {
      const value = {}
      value.value = value
      return value
    }
    const odd = () =>
      pick([
        () => new Proxy([], { get: () => next() }),
        () =>
          new Proxy(
            {},
            {
              ownKeys() {
                throw new Error('x')
              },
            },
          ),
        () => ({
          get a() {
            return next()
          },
          get b() {
            throw new Error('x')
          },
        }),
        () => ({
          get a() {
            emit([9, 1])
            return 1
          },
        }),
        () => () => {},
        () => Symbol('x'),
        () => 10n ** 30n,
        gone,
        deep,
        cyclic,
        bytes,
        () => (typeof WebAssembly === 'object' && WebAssembly.Memory ? new WebAssembly.Memory({ initial: 1 }).buffer : null),
        () => new Float64Array(3),
        () => new DataView(new ArrayBuffer(4)),
        () => new ArrayBuffer(10),
        () => Object.assign(new Error('x'), { cause: 1, stack: { toString: null } }),
        () =>
          Object.defineProperty(new TypeError('x'), 'message', {
            get: () => {
              throw 1
            },
          }),
        () => new Map([[{}, {}]]),
        () => new Set([1]),
        () => new Date(NaN),
        () => /x/dg,
        () => new Array(4294967295),
        () => Object.assign([], { 1000: 'x', extra: 1 }),
        () => Object.assign(new Array(3), { 2: 1 }),
        () => ({ length: 5, 0: 'x' }),
        () => Object.create(null),
        () => ({ toString: null, valueOf: 5 }),
        () => JSON.parse('{"__proto__":{"x":1}}'),
        () => 'x'.repeat(int(50_000)),
        () => '\ud800',
        () => NaN,
        () => -0,
        () => 1e308,
        () => Infinity,
        () => 2 ** 53,
        () => undefined,
        () => null,
        () => true,
        () => new Promise(() => {}),
        () => new WeakMap(),
        () => globalThis,
        () => emit,
        () => arguments,
      ])()

    const event = () => (held.size > 0 && next() < 0.9 ? pick([...held.keys()]) : pick([0, 1, 2, 50, 2 ** 40]))
    const text = () => pick(['', 'x', '\0', 'a\r\nb', '\ud800', 'é'.repeat(20)])
    const list = () =>
      pick([[], ['a', 'b'], ['set-cookie', 'x'], ['a'], ['skep-request-id', 'forged'], ['A\r\n', 'b'], ['__proto__', 'x']])
    const count = () => pick([0, 1, 100, 262144, 1e9, 0.5])
    const own = (id) => held.get(id) ?? ''
    const message = () => {
      const id = event()
      const other = int(4)
      return pick([
        () => [1, id, pick([200, 204, 404, 600, 99, 1.5]), list(), pick([own(id), null, new Uint8Array(0)])],
        () => [2, id, pick([200, 204, 304, 999]), list()],
        () => [3, id, next() < 0.5 ? new Uint8Array([...own(id)].map((c) => c.charCodeAt(0))) : new Uint8Array(int(100))],
        () => [3, id, bytes()],
        () => [4, id],
        () => [5, id, text()],
        () => [6, id, pick(['function_threw', 'internal', 'x']), text(), text()],
        () => [7, id, count()],
        () => [8, id],
        () => [9, id],
        () => [10, id, pick(['info', 'error', 'fatal']), text()],
        () => [
          11,
          other,
          id,
          pick(['fetch', 'x']),
          pick([
            {},
            [],
            new Map(),
            new Date(),
            {
              method: 'GET',
              url: pick(['http://127.0.0.1:1/', 'x']),
              redirect: 'follow',
              headers: pick([[], ['a', 'b'], [{}], [{ toString: null }]]),
              body: null,
            },
          ]),
        ],
        () => [12, other, bytes()],
        () => [13, other],
        () => [14, other, count()],
        () => [15, other],
        () => [16, other, count()],
        () => [17, other],
        () => [18, '', '', ['fetch']],
      ])()
    }
    const wild = () => {
      const batch = message()
      const roll = int(6)
      if (roll === 0) batch[int(batch.length)] = odd()
      else if (roll === 1) batch.splice(int(batch.length), 1)
      else if (roll === 2) return odd()
      else if (roll === 3) Object.defineProperty(batch, int(batch.length), { get: () => odd() })
      else if (roll === 4) return Object.setPrototypeOf(batch, pick([null, {}, new Proxy([], {})]))
      else return new Proxy(batch, {})
      return batch
    }
    const send = (batch) => {
      try {
        const roll = int(40)
        if (roll === 0) emit(batch, batch)
        else if (roll === 1) emit.call(batch, batch, { transferList: [] })
        else emit(batch)
        if (batch[0] === 9) held.delete(batch[1])
      } catch {}
    }
    globalThis.started = () => send([18, '', '', ['fetch']])
    const words = new Int32Array(progress)
    return (now, batch) => {
      words[0] = int(2 ** 32) - 2 ** 31
      words[1] = int(40_000) - 20_000
      for (let at = 0; at < batch.length; at += [0, 7, 4, 2, 1, 2, 2, 2, 2, 3, 2, 1, 2, 1][batch[at]] + 1) {
        if (batch[at] !== 1) continue
        held.set(batch[at + 1], batch[at + 2])
        const [, kind, seed, times] = /\/(\w+)\/(\d+)\/(\d+)$/.exec(batch[at + 4])
        state = Number(seed)
        for (let i = Number(times); i > 0; i--)
          send(kind === 'wild' && next() < 0.05 ? wild() : next() < 0.3 ? [...message(), ...message()] : message())
      }
      for (const id of [...held.keys()]) {
        send([1, id, 200, [], own(id)])
        send([4, id])
        send([9, id])
      }
    }
  },
  start() {
    globalThis.started()
  },
}
