/** A published escape from a sandbox, done again against ours. */
export interface Advisory {
  /** CVE, GHSA or other numbers. */
  ids: string[]
  package: string
  /** What let code out. */
  how: string
  /** Body of an async function in the isolate; `loot`, `lootOf` and the handler's arguments are in scope. See loot.guest.js. */
  code: string
  /** At least so many values have to be looked at for the attack to count as tried. Default 1. */
  looks?: number
}

/** A native error whose stack cannot be written: Node's formatter throws one of its own realm for it. */
export const UNPRINTABLE = `const unprintable = () => { const e = new Error('x'); e.name = Symbol('x'); return e.stack }`
