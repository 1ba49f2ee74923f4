import type { Group } from './attack.ts'
import { clock } from './clock.ts'
import { cpu, uninterruptible } from './cpu.ts'
import { escape } from './escape.ts'
import { leak } from './leak.ts'
import { lifecycle } from './lifecycle.ts'
import { memory } from './memory.ts'
import { module } from './module.ts'
import { outbound } from './outbound.ts'
import { protocol } from './protocol.ts'
import { response } from './response.ts'

/** In this order; those that cost a process are together, and wait for it together. */
export const GROUPS: Group[] = [
  { name: 'clock', attacks: clock },
  { name: 'escape', attacks: escape },
  { name: 'leak', attacks: leak },
  { name: 'outbound', attacks: outbound },
  { name: 'response', attacks: response },
  { name: 'protocol', attacks: protocol },
  { name: 'module', attacks: module },
  { name: 'lifecycle', attacks: lifecycle, atOnce: 6 },
  { name: 'cpu', attacks: cpu },
  { name: 'memory', attacks: memory, atOnce: 3 },
  { name: 'uninterruptible', attacks: uninterruptible, atOnce: 5 },
]
