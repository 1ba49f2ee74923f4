import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { createInlineFactory } from '../../sandbox/inline.ts'
import type { SandboxFactory } from '../../sandbox/sandbox.ts'
import { handler, Probe } from '../sandbox/probe.ts'
import { wasmModule } from './wasm-module.ts'
import type { Shape } from './wasm-module.ts'

const MB = 1_048_576

/** Memory is read after entries, and not after each; it is told of once the guest is at rest. */
async function getUntil(probe: Probe, bytes: number): Promise<void> {
  while (!probe.reports.some(({ memoryBytes }) => memoryBytes > bytes)) {
    await probe.get()
    await new Promise(setImmediate)
  }
}

suite('memory that V8 does not count', { timeout: 120_000 }, () => {
  let factory: SandboxFactory
  before(async () => {
    factory = await createInlineFactory({
      egress: { allow: [], deny: [] },
      tainted: (taint) => assert.fail(JSON.stringify(taint)),
    })
  })
  after(() => factory.close())

  /** Evaluates an expression or body with modules `m.<name>` as bytes; what it throws is its answer. */
  async function run(body: string, shapes: Record<string, Shape> = {}, memoryMb = 64): Promise<unknown> {
    const given = Object.entries(shapes).map(([name, shape]) => `${name}: new Uint8Array([${wasmModule(shape).join()}])`)
    const code = `const m = { ${given.join()} }; try { return Response.json(await (async () => { ${body} })()) } catch (error) { return Response.json(String(error)) }`
    const probe = new Probe(factory, handler(code), { limits: { memoryMb, cpuMs: 5_000 } })
    await probe.sandbox.ready
    const ended = probe.failure().then((failure) => assert.fail(`${failure.code}: ${failure.message}`))
    const answer: unknown = JSON.parse(await Promise.race([probe.get(), ended]))
    probe.sandbox.dispose()
    return answer
  }

  const instance = (name: string) => `new WebAssembly.Instance(new WebAssembly.Module(m.${name})).exports`

  test('a module without a maximum grows as far as the function’s memory, and no further', async () => {
    const grown = await run(
      `const { grow, memory } = ${instance('a')}; let pages = 1; while (grow(16) !== -1) pages += 16
       return [pages, memory.buffer.byteLength]`,
      { a: { memories: [[1]] } },
    )
    const [pages, bytes] = grown as [number, number]
    assert.ok(bytes <= 64 * MB && bytes > 60 * MB && bytes === pages * 65_536, String(grown))
  })

  test('the code of a module is as it was: functions, data and other sections', async () => {
    assert.deepEqual(
      await run(
        `const { grow, fill, memory } = ${instance('a')}; fill(7, 100); const before = new Uint8Array(memory.buffer)[99]
         return [before, grow(2), memory.buffer.byteLength / 65536, new Uint8Array(memory.buffer)[99], WebAssembly.Module.exports(new WebAssembly.Module(m.a)).map((e) => e.name)]`,
        { a: { memories: [[3]], tables: [[200], [3, 4]] } },
      ),
      [7, 3, 5, 7, ['memory', 'grow', 'fill']],
    )
  })

  const refused: [string, Shape, RegExp][] = [
    ['a minimum above the limit', { memories: [[2_000]] }, /CompileError.*2000 pages/],
    ['the largest minimum that there is', { memories: [[65_536]] }, /CompileError.*65536 pages/],
    ['a shared memory', { raw: { memory: [1, 3, 1, 2] } }, /CompileError.*shared/],
    ['a memory of 64-bit addresses', { raw: { memory: [1, 4, 1] } }, /CompileError/],
    ['several memories, of which one is too large', { memories: [[1], [2_000]] }, /CompileError/],
    ['a table above the limit', { tables: [[9_000_000]] }, /CompileError.*table/],
    ['a section that ends beyond the module', { raw: { memory: [5, 0] } }, /CompileError/],
  ]
  for (const [what, shape, message] of refused) {
    test(`refused: ${what}`, async () => {
      for (const make of ['new WebAssembly.Module(m.a)', 'await WebAssembly.compile(m.a)', 'await WebAssembly.instantiate(m.a)'])
        assert.match((await run(`${make}; return 'made'`, { a: shape })) as string, message, make)
      assert.equal(await run('return WebAssembly.validate(m.a)', { a: shape }), false)
    })
  }

  const answers: [string, string, unknown][] = [
    ['shared by the constructor', 'return new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true })', /no shared memory/],
    ['64-bit by the constructor', `return new WebAssembly.Memory({ initial: 1n, address: 'i64' })`, /64-bit/],
    ['too large by the constructor', 'return new WebAssembly.Memory({ initial: 1025 })', /RangeError/],
    ['grown by the method', 'const a = new WebAssembly.Memory({ initial: 1 }); a.grow(1000); return a.grow(100)', /RangeError/],
    [
      'a getter that changes its mind',
      'let n = 0; return new WebAssembly.Memory({ get initial() { return n++ === 0 ? 1 : 5000 } }).buffer.byteLength',
      65_536,
    ],
    ['a table', 'return new WebAssembly.Table({ element: "anyfunc", initial: 5_000_000 })', /RangeError/],
    [
      'a table that grows',
      'const t = new WebAssembly.Table({ element: "externref", initial: 1 }); return t.grow(5_000_000)',
      /RangeError/,
    ],
    ['a resizable buffer', 'return new ArrayBuffer(1, { maxByteLength: 65 * 2 ** 20 })', /RangeError/],
    [
      'resizable buffers together',
      'const all = []; for (let i = 0; i < 100; i++) all.push(new ArrayBuffer(1, { maxByteLength: 2 ** 20 })); return all.length',
      /RangeError/,
    ],
    ['a buffer of a subclass', 'return new (class extends ArrayBuffer {})(1, { maxByteLength: 65 * 2 ** 20 })', /RangeError/],
    [
      'a buffer by Reflect',
      'return Reflect.construct(new Uint8Array(1).buffer.constructor, [1, { maxByteLength: 2 ** 40 }], Object)',
      /RangeError/,
    ],
    [
      'buffers that move',
      'let b = new ArrayBuffer(1, { maxByteLength: 40 * 2 ** 20 }); const c = structuredClone(b, { transfer: [b] }).transfer(); return [c.resizable, c.maxByteLength, new ArrayBuffer(1, { maxByteLength: 40 * 2 ** 20 })]',
      /RangeError/,
    ],
    [
      'shared buffers',
      'return [typeof SharedArrayBuffer, Object.getOwnPropertyNames(globalThis).includes("SharedArrayBuffer")]',
      ['undefined', false],
    ],
    [
      'promise integration',
      'return [WebAssembly.promising, WebAssembly.Suspending].map((x) => typeof x)',
      ['undefined', 'undefined'],
    ],
    [
      'what is within the limit',
      'const b = new ArrayBuffer(2, { maxByteLength: 9 }); b.resize(9); const c = b.transfer(3); return [b.detached, c.byteLength, c.maxByteLength, new ArrayBuffer(5).byteLength, ArrayBuffer.name, ArrayBuffer.length]',
      [true, 3, 9, 5, 'ArrayBuffer', 1],
    ],
    [
      'a memory that is imported',
      'const memory = new WebAssembly.Memory({ initial: 1, maximum: 2 }); return [memory.grow(1), memory.buffer.byteLength, memory instanceof WebAssembly.Memory, WebAssembly.Memory.prototype.constructor === WebAssembly.Memory]',
      [1, 131_072, true, true],
    ],
  ]
  for (const [what, body, expected] of answers) {
    test(`${what}`, async () => {
      const answer = await run(body)
      if (expected instanceof RegExp) assert.match(String(answer), expected)
      else assert.deepEqual(answer, expected)
    })
  }

  test('memories together have the limit of one, also those that nobody can see', async () => {
    const all = (name: string) =>
      `const kept = []; for (let i = 0; i < 200; i++) { const e = ${instance(name)}; e.fill(1, 65536); kept.push(e) }`
    for (const shape of [{ memories: [[256]] }, { memories: [[1]], exportsMemory: false }, { memories: [[1, 64]] }] as Shape[])
      assert.match((await run(all('a'), { a: shape })) as string, /RangeError.*out of memory/)
  })

  test('what is garbage does not count: an instance for each request', async () => {
    const code = `const module = new WebAssembly.Module(new Uint8Array([${wasmModule({ memories: [[64]] }).join()}]))`
    const probe = new Probe(
      factory,
      handler(
        `const { fill, memory } = new WebAssembly.Instance(module).exports; fill(1, 1000); return new Response(String(memory.buffer.byteLength))`,
        code,
      ),
      { limits: { memoryMb: 64, cpuMs: 1_000 } },
    )
    await probe.sandbox.ready
    for (let i = 0; i < 300; i++) assert.equal(await probe.get(), String(64 * 65_536))
    assert.deepEqual(probe.failures, [])
    probe.sandbox.dispose()
  })

  test('the host hears of it', async () => {
    const code = handler(`globalThis.kept ??= new WebAssembly.Memory({ initial: 320 }); return new Response('x')`)
    const probe = new Probe(factory, code, { limits: { memoryMb: 64 } })
    await probe.sandbox.ready
    await getUntil(probe, 20 * MB)
    probe.sandbox.dispose()
  })

  test('memories that grow by calls or instructions are counted together', async () => {
    const body = `const kept = []; for (let i = 0; i < 20; i++) { const m = new WebAssembly.Memory({ initial: 1 }); m.grow(99); kept.push(m) }`
    assert.match((await run(body)) as string, /RangeError.*out of memory/)
    const grows = `globalThis.kept ??= ${instance('a')}; globalThis.before ??= kept.grow(300); await new Promise((r) => setTimeout(r, 60)); return new Response('x')`
    const probe = new Probe(
      factory,
      handler(grows, `const m = { a: new Uint8Array([${wasmModule({ memories: [[1]] }).join()}]) }`),
      { limits: { memoryMb: 64 } },
    )
    await probe.sandbox.ready
    await getUntil(probe, 18 * MB)
    probe.sandbox.dispose()
  })

  test('a wasm module of the bundle is bounded as well', async () => {
    const source = handler(
      `const { grow } = new WebAssembly.Instance(__skep_modules['a.wasm']).exports; let n = 1; while (grow(64) !== -1) n += 64; return new Response(String(n))`,
    )
    const modules = { 'a.wasm': wasmModule({ memories: [[1]] }) }
    const probe = new Probe(factory, source, { bundle: { modules }, limits: { memoryMb: 64 } })
    await probe.sandbox.ready
    assert.ok(Number(await probe.get()) <= 1024)
    probe.sandbox.dispose()
    const large = new Probe(factory, source, { bundle: { modules: { 'a.wasm': wasmModule({ memories: [[5_000]] }) } } })
    await assert.rejects(large.sandbox.ready, /start_failed|5000 pages/)
  })

  test('compile and instantiate settle, also from a response', async () => {
    const bytes = 'new Response(m.a, { headers: { "content-type": type } })'
    const shapes = { a: { memories: [[1]] } }
    for (const make of ['compile(m.a)', `compileStreaming(${bytes})`, `compileStreaming(Promise.resolve(${bytes}))`])
      assert.equal(
        await run(`const type = 'application/wasm'; return String(await WebAssembly.${make})`, shapes),
        '[object WebAssembly.Module]',
      )
    for (const make of ['instantiate(m.a)', `instantiateStreaming(${bytes})`])
      assert.deepEqual(await run(`const type = ' Application/WASM '; return Object.keys(await WebAssembly.${make})`, shapes), [
        'module',
        'instance',
      ])
    for (const type of ['text/plain', 'application/wasm; charset=utf-8'])
      assert.match(
        (await run(`const type = '${type}'; return await WebAssembly.compileStreaming(${bytes})`, shapes)) as string,
        /TypeError.*Content-Type/,
      )
    assert.match((await run(`return await WebAssembly.compileStreaming(Response.error())`)) as string, /TypeError/)
    assert.match(
      (await run(
        `return await WebAssembly.compileStreaming(new Response(m.a, { status: 404, headers: { 'content-type': 'application/wasm' } }))`,
        shapes,
      )) as string,
      /404/,
    )
  })
})
