import { Worker } from 'node:worker_threads'

/** Between two looks, ms. */
const EVERY = 1_000

/**
 * Ends this process when its parent is gone, from a thread of its own: a main thread that is blocked hears no pipe close.
 * For systems whose kernel was not asked to do it.
 */
export function watchParent(): void {
  const code = `
    const { workerData: { parent, every } } = require('node:worker_threads')
    setInterval(() => { if (process.ppid !== parent) process.kill(process.pid, 'SIGKILL') }, every)`
  const watch = new Worker(code, {
    eval: true,
    workerData: { parent: process.ppid, every: EVERY },
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: 8, maxYoungGenerationSizeMb: 2 },
  })
  watch.unref()
}
