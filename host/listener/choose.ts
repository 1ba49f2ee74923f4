/** Which listener serves, and why: a host that is slower than it could be says so when it starts. */
import { SkepError } from '../errors.ts'
import { listenNode } from './node.ts'
import { listenUws } from './uws.ts'
import { loadUws } from './uws-binary.ts'
import type { Listener, ListenOptions } from './listener.ts'

export type ListenerKind = 'uws' | 'node' | 'auto'

export interface Chosen {
  listener: Listener
  /** A sentence for the start log. */
  reason: string
}

export async function listen(options: ListenOptions & { kind?: ListenerKind }): Promise<Chosen> {
  const { kind = 'auto', ...rest } = options
  if (kind === 'node') return { listener: await listenNode(rest), reason: 'node:http serves, as configured.' }
  const load = loadUws()
  if (load.uws !== undefined) {
    const how = load.patched ? `, with a copy made for this machine's glibc (${load.path})` : ''
    return { listener: await listenUws(load.uws, rest), reason: `uWebSockets.js serves${how}.` }
  }
  if (kind === 'uws') throw new SkepError('invalid_config', `uWebSockets.js was asked for, but ${load.reason}.`)
  return { listener: await listenNode(rest), reason: `node:http serves, more slowly: ${load.reason}.` }
}
