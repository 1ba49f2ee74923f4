import type { Scene } from './scene.ts'

/** One attack: a function of its own, what is sent to it, and what has to come of it. */
export interface Attack {
  /** What it does; unique in its group. */
  name: string
  /** The module. Absent where the attack is in the request alone: it then goes to a function that echoes. */
  source?: string
  /** The bundle's script as it is, unseen by the bundler. */
  script?: { code: string; async?: boolean; sourceMap?: string }
  /** Binary modules, found in the free variable `__skep_modules`. */
  modules?: Record<string, Uint8Array>
  limits?: Record<string, number>
  vars?: Record<string, string>
  /** One after the other on one connection; default: one GET. */
  requests?: Sent[]
  /** How often the requests are sent, all at once and each on a connection of its own. */
  times?: number
  /** Of the last answer (of every one, with `times`). A list is for what honestly may differ; `why` then says so. */
  expect: Outcome | readonly Outcome[]
  /** What the text of such an answer has to be. */
  text?: RegExp | string
  why?: string
  /** It does not get past the upload: `expect` is the API's code. */
  upload?: true
  /** For what takes more than requests. Says what is wrong, or ''. `expect` then is what the table shows. */
  run?: (scene: Scene, host: string) => Promise<string>
}

/** An error's code, a status, or `cut` (the answer broke off), `left` (by the client), `closed` (no answer at all). */
export type Outcome = string | number

export interface Sent {
  method?: string
  path?: string
  headers?: Record<string, string | string[]>
  body?: string | Uint8Array
  /** Bytes as they are, on a connection of their own; `HOST` in them becomes the function's hostname. */
  raw?: string
  /** The client leaves after so many bytes of the answer's body. */
  leaveAfter?: number
  /** The client leaves after so many ms, whatever has come. */
  leaveAfterMs?: number
  /** Another hostname than the function's. */
  host?: string
}

export interface Group {
  name: string
  attacks: Attack[]
  /** How many at once; default 4. */
  atOnce?: number
}

/** A module whose fetch handler has this body; `top` goes before it. */
export function handler(body: string, top = ''): string {
  return `${top}\nexport default { async fetch(request, env, ctx) {\n${body}\n} }`
}

/** A handler that tries something and says whether it got anywhere: `found` lists what should not be there. */
export function tries(body: string, top = ''): string {
  return handler(
    `const found = []; const host = ${HOST}
    ${body}
    return new Response(found.length === 0 ? 'contained' : 'ESCAPED ' + found.join())`,
    top,
  )
}

/** Whether a value is, or leads to, something of Node's or of isolated-vm's. */
const HOST = `(value) => {
  for (const name of ['process', 'require', 'Buffer', 'global', 'module', 'ivm', '__skep', 'setImmediate'])
    try { if (value != null && typeof value[name] !== 'undefined') return true } catch {}
  return false
}`

export const CONTAINED = /^contained$/
