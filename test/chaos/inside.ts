/**
 * Preloaded into a host (NODE_OPTIONS=--import=…): at each SIGUSR2 writes what the process holds, as it sees it itself, to
 * the folder SKEP_INSIDE.
 */
import { renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Inside {
  /** What keeps its event loop busy, by kind: sockets, timers, … */
  resources: Record<string, number>
  /** Of the process object. */
  listeners: number
  heapMb: number
  externalMb: number
}

process.on('SIGUSR2', () => {
  const resources: Record<string, number> = {}
  for (const kind of process.getActiveResourcesInfo()) resources[kind] = (resources[kind] ?? 0) + 1
  const { heapUsed, external } = process.memoryUsage()
  const listeners = process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0)
  const inside: Inside = { resources, listeners, heapMb: heapUsed / 1_048_576, externalMb: external / 1_048_576 }
  const file = join(process.env['SKEP_INSIDE']!, String(process.pid))
  writeFileSync(`${file}.new`, JSON.stringify(inside))
  renameSync(`${file}.new`, file)
})
