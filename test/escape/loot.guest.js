/* oxlint-disable no-unused-vars */
/* Runs in the isolate, before the attack. `loot` takes whatever an attack got hold of, and looks whether a host is behind it. */
const { getPrototypeOf } = Object
const { construct, ownKeys } = Reflect
const Here = { Object, Function, ObjectPrototype: Object.prototype, FunctionPrototype: Function.prototype }
const HOST = ['process', 'require', 'Buffer', 'global', 'module', 'ivm', '__skep', 'Deno', 'Bun', 'SharedArrayBuffer']
const escaped = []
let seen = 0

function isObject(value) {
  return (typeof value === 'object' && value !== null) || typeof value === 'function'
}

/** What code from a string would say; undefined where there is none. */
function run(Constructor) {
  for (const make of [() => Constructor('return this')(), () => construct(Constructor, ['return this'])()]) {
    try {
      const scope = make()
      if (isObject(scope)) return scope
    } catch {}
  }
  return undefined
}

function loot(value) {
  seen++
  if (!isObject(value)) return value
  try {
    let last = value
    for (let next = getPrototypeOf(last), depth = 0; next !== null && depth < 50; next = getPrototypeOf(next), depth++)
      last = next
    if (last !== value && last !== Here.ObjectPrototype && ownKeys(last).includes('hasOwnProperty'))
      escaped.push('an object of another realm')
    for (let at = value, depth = 0; isObject(at) && depth < 4; depth++) {
      at = at.constructor
      if (typeof at !== 'function') break
      if (getPrototypeOf(at) !== null && at.name === 'Function' && at !== Here.Function) escaped.push('Function of another realm')
      const scope = run(at)
      if (scope !== undefined && scope !== value) escaped.push('code from a string')
      if (scope !== undefined && scope.process !== undefined) escaped.push('process')
    }
  } catch {}
  return value
}

/** What a function throws, or returns, or what its promise settles with. */
async function lootOf(attack) {
  try {
    loot(await attack())
  } catch (error) {
    loot(error)
    for (const key of ['error', 'suppressed', 'cause']) if (isObject(error) && error[key] !== undefined) loot(error[key])
    if (isObject(error) && Array.isArray(error.errors)) error.errors.forEach(loot)
  }
}

function verdict() {
  for (const name of HOST) if (typeof globalThis[name] !== 'undefined') escaped.push(`the global ${name}`)
  return { seen, escaped }
}
