/* oxlint-disable no-eval, typescript/no-extraneous-class */
/* Runs inside the isolate, as tenant code would: a script whose value is a report. */
;(async () => {
  const failures = []
  const check = (name, condition) => {
    if (!condition) failures[failures.length] = name
  }
  const throws = (name, run, error) => {
    try {
      run()
    } catch (thrown) {
      check(`${name}: threw ${thrown.name}: ${thrown.message}`, thrown instanceof error)
      return
    }
    failures[failures.length] = `${name}: did not throw`
  }
  testHooks.setNow(1_700_000_000_123.7)
  testHooks.seed(new Uint8Array(32).fill(7))

  // Code from strings: every known way to a function constructor.
  const AsyncFunction = (async () => {}).constructor
  const GeneratorFunction = function* () {}.constructor
  const AsyncGeneratorFunction = async function* () {}.constructor
  const ways = [
    Function,
    AsyncFunction,
    GeneratorFunction,
    AsyncGeneratorFunction,
    Object.getPrototypeOf(AsyncFunction),
    Object.getPrototypeOf(GeneratorFunction),
    Function.constructor,
    Object.constructor.constructor,
    class {}.constructor,
    (() => {}).bind().constructor,
    Reflect.get(Function.prototype, 'constructor'),
    Object.getOwnPropertyDescriptor(Function.prototype, 'constructor').value,
    Object.getPrototypeOf(Uint8Array).constructor,
    URL.constructor,
    ReadableStream.constructor,
    console.log.constructor,
    new Proxy(function () {}, {}).constructor,
    typeof WebAssembly === 'object' ? WebAssembly.Module.constructor : Function,
    typeof DisposableStack === 'function' ? DisposableStack.constructor : Function,
  ]
  for (let i = 0; i < ways.length; i++) {
    throws(`way ${i} called`, () => ways[i]('return 1')(), EvalError)
    throws(`way ${i} constructed`, () => new ways[i]('return 1')(), EvalError)
    throws(`way ${i} reflected`, () => Reflect.construct(ways[i], ['return 1'], Object), EvalError)
    throws(`way ${i} extended`, () => new (class extends ways[i] {})('return 1'), EvalError)
  }
  throws('eval', () => eval('1'), EvalError)
  throws('indirect eval', () => (0, eval)('1'), EvalError)
  check('instanceof Function', (() => {}) instanceof Function && class {} instanceof Function)
  check('constructor', (() => {}).constructor === Function)
  Error.prepareStackTrace = (_, sites) => sites
  const sites = new Error('x').stack
  let nativeReached = false
  ;[1, 2].sort(() => {
    const list = new Error('x').stack
    for (let i = 0; i < list.length; i++) {
      const found = list[i].getFunction?.()
      const self = list[i].getThis?.()
      if (found !== undefined && found.constructor !== Function) nativeReached = true
      if (self !== undefined && self !== null && self.Function !== undefined && self.Function !== Function) nativeReached = true
    }
    return 0
  })
  check('stack frames', Array.isArray(sites) && !nativeReached)
  Error.prepareStackTrace = undefined

  // Clocks.
  const now = 1_700_000_000_123
  check('Date.now', Date.now() === now)
  check('new Date', new Date().getTime() === now)
  check('Date()', Date() === new Date(now).toString())
  check('Date subclass', new (class extends Date {})().getTime() === now)
  check('Date constructor', new Date(5).constructor === Date && Date.prototype.constructor === Date && new Date() instanceof Date)
  check('Reflect.construct', Reflect.construct(Date, [], Object) instanceof Object)
  check('Date parts', new Date(2020, 1, 2).getFullYear() === 2020 && Date.UTC(2020, 0) === 1577836800000)
  check('Date shape', Date.length === 7 && Date.name === 'Date')
  const format = new Intl.DateTimeFormat('en', { year: 'numeric', timeZone: 'UTC', fractionalSecondDigits: 3, second: 'numeric' })
  check('DateTimeFormat', format.format() === format.format(now) && format.format === format.format)
  check('formatToParts', JSON.stringify(format.formatToParts()) === JSON.stringify(format.formatToParts(now)))
  check('performance.now', performance.now() === 0 && performance.timeOrigin === now)
  check('no waits', typeof Atomics === 'undefined' || (Atomics.wait === undefined && Atomics.waitAsync === undefined))
  const late = ['SharedArrayBuffer', 'WebAssembly'].filter((name) => typeof globalThis[name] !== 'undefined')

  // Then the tenant poisons what it can reach, and everything goes on working.
  const bad = () => {
    throw new Error('poisoned')
  }
  const saved = []
  const { defineProperty, getOwnPropertyDescriptor } = Object
  const poison = (target, keys) => {
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i]
      const descriptor = getOwnPropertyDescriptor(target, key)
      saved[saved.length] = [target, key, descriptor]
      defineProperty(target, key, { __proto__: null, value: bad, writable: true, configurable: true })
    }
  }
  const restore = () => {
    for (let i = saved.length - 1; i >= 0; i--) {
      if (saved[i][2] !== undefined) Object.setPrototypeOf(saved[i][2], null)
      if (saved[i][2] === undefined) delete saved[i][0][saved[i][1]]
      else defineProperty(saved[i][0], saved[i][1], saved[i][2])
    }
  }
  const { stringify } = JSON
  const results = {}
  const run = (name, call) => {
    try {
      results[name] = call()
    } catch (error) {
      results[name] = `threw ${error.message}`
    }
  }
  const nested = { map: new Map([[1, new Date(5)]]), set: new Set(['a']), expression: /a/g, list: [1, [2]] }
  const buffer = new ArrayBuffer(8)
  poison(Array.prototype, [
    'push',
    'pop',
    'slice',
    'splice',
    'join',
    'sort',
    'indexOf',
    'includes',
    'map',
    'forEach',
    Symbol.iterator,
  ])
  poison(String.prototype, [
    'charCodeAt',
    'codePointAt',
    'slice',
    'split',
    'indexOf',
    'replace',
    'startsWith',
    'toLowerCase',
    'normalize',
    'toWellFormed',
    'padEnd',
    'repeat',
    'trim',
    Symbol.iterator,
  ])
  poison(RegExp.prototype, ['exec', 'test', Symbol.replace, Symbol.match, Symbol.split])
  poison(Map.prototype, ['get', 'set', 'has', 'forEach', Symbol.iterator])
  poison(Set.prototype, ['add', 'has', 'forEach', Symbol.iterator])
  poison(WeakMap.prototype, ['get', 'set', 'has'])
  poison(Object.getPrototypeOf(Uint8Array.prototype), [
    'set',
    'fill',
    'subarray',
    'slice',
    'buffer',
    'byteLength',
    'length',
    Symbol.iterator,
  ])
  poison(Function.prototype, ['call', 'apply', 'bind', 'toString'])
  poison(Reflect, ['apply', 'construct', 'ownKeys'])
  poison(Object, ['keys', 'defineProperty', 'getPrototypeOf', 'getOwnPropertyDescriptor', 'create', 'hasOwn'])
  poison(Object.prototype, ['get', 'set', 'hasOwnProperty'])
  poison(Number.prototype, ['toString'])
  poison(Math, ['floor', 'trunc', 'min', 'max'])

  run('url', () => new URL('HTTP://ÜBER.example:80/a/../b c?q#f').href)
  run('params', () => {
    const params = new URL('http://h/?a=1&b=2').searchParams
    params.append('c', 'é')
    return params.toString()
  })
  run('encode', () => new TextEncoder().encode('é')[0])
  run('decode', () => new TextDecoder().decode(new TextEncoder().encode('héllo €')))
  run('base64', () => atob(btoa('hey')))
  run('clone', () => {
    const copy = structuredClone(nested)
    return copy !== nested && copy.list[1][0] === 2
  })
  run(
    'transfer',
    () => structuredClone(buffer, { transfer: { [Symbol.iterator]: () => ({ next: () => ({ done: true }) }) } }) !== buffer,
  )
  run('uuid', () => crypto.randomUUID().length)
  run('random', () => crypto.getRandomValues(new Uint32Array(4))[0] !== 0)
  run('abort', () => {
    const controller = new AbortController()
    let seen = ''
    controller.signal.addEventListener('abort', (event) => {
      seen = event.type + event.target.reason.name
    })
    controller.abort()
    return seen
  })
  run('exception', () => new DOMException('m', 'AbortError').code)
  run('console', () => {
    console.log('a %s %o', 'b', nested)
    console.table({ 0: { a: 1 } })
    return testHooks.logged[0]
  })
  run('date', () => Date.now() === now && new Intl.DateTimeFormat('en', { timeZone: 'UTC' }).format().length > 0)
  restore()
  const expected = {
    url: 'http://xn--ber-goa.example/b%20c?q#f',
    params: 'a=1&b=2&c=%C3%A9',
    encode: 0xc3,
    decode: 'héllo €',
    base64: 'hey',
    clone: true,
    transfer: true,
    uuid: 36,
    random: true,
    abort: 'abortAbortError',
    exception: 20,
    console:
      "info a b {\n  map: Map(1) { 1 => 1970-01-01T00:00:00.005Z },\n  set: Set(1) { 'a' },\n  expression: /a/g,\n  list: [ 1, [ 2 ] ]\n}",
    date: true,
  }
  for (const name in expected) if (results[name] !== expected[name]) failures.push(`${name}: ${results[name]}`)

  // Streams, unpoisoned.
  const stream = ReadableStream.from(['a', 'ü']).pipeThrough(new TextEncoderStream()).pipeThrough(new TextDecoderStream())
  let text = ''
  for await (const part of stream) text += part
  check(`streams: ${text}`, text === 'aü')
  let reason
  const writable = new WritableStream({
    start: (controller) => void controller.signal.addEventListener('abort', () => (reason = controller.signal.reason)),
  })
  await writable.abort('why')
  check('writable signal', reason === 'why')
  return stringify({ failures, late })
})()
