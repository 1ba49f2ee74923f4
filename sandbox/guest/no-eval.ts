import { objectDefineProperty, objectGetPrototypeOf, objectSetPrototypeOf } from './primordials.ts'

const EvalErrorConstructor = EvalError

function refuse(): never {
  throw new EvalErrorConstructor('Code generation from strings is not allowed')
}

/**
 * Takes `eval` and the four function constructors away: a version of a function is what was uploaded and checked, and no string in
 * a request becomes code. The real constructors are reachable only as `constructor` of their prototypes and as
 * prototypes of each other, so replacing the former and never handing out the latter leaves no way to them.
 */
export function installNoEval(global: object): void {
  const { eval: refusedEval } = {
    eval(source: unknown): unknown {
      return typeof source === 'string' ? refuse() : source
    },
  }
  objectDefineProperty(global, 'eval', { value: refusedEval, writable: true, enumerable: false, configurable: true })

  const base = replace(Function.prototype, 'Function')
  objectDefineProperty(global, 'Function', { value: base, writable: true, enumerable: false, configurable: true })
  const kinds = [async () => {}, function* () {}, async function* () {}] as const
  const names = ['AsyncFunction', 'GeneratorFunction', 'AsyncGeneratorFunction'] as const
  for (let i = 0; i < 3; i++) objectSetPrototypeOf(replace(objectGetPrototypeOf(kinds[i]) as object, names[i]!), base)
}

/** A realm of its own would have an `eval` of its own, and clocks that run. V8 has these behind flags, today. */
export function removeRealms(global: object): void {
  const scope = global as { ShadowRealm?: unknown; Temporal?: unknown }
  delete scope.ShadowRealm
  delete scope.Temporal
}

/**
 * `await` asks a promise for its `constructor`, and takes the tenant's `then` for it if that is not `Promise`. The prelude
 * awaits promises of its own only, and is to get what they settle with.
 */
export function lockPromises(): void {
  objectDefineProperty(Promise.prototype, 'constructor', { writable: false, configurable: false })
}

/** A constructor in place of the prototype's own, of the same shape: `instanceof` goes by `prototype`. */
function replace(prototype: object, name: string): object {
  const constructor = function (): never {
    refuse()
  }
  const isFunction = name === 'Function'
  objectDefineProperty(constructor, 'name', { value: name, configurable: true })
  objectDefineProperty(constructor, 'length', { value: 1, configurable: true })
  objectDefineProperty(constructor, 'prototype', { value: prototype, writable: false, enumerable: false, configurable: false })
  objectDefineProperty(prototype, 'constructor', {
    value: constructor,
    writable: isFunction,
    enumerable: false,
    configurable: true,
  })
  return constructor
}
