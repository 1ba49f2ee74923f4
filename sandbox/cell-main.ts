import { Socket } from 'node:net'
import { SkepError } from '../host/errors.ts'
import { Channel } from './cell-protocol.ts'
import type { FromCell, ToCell } from './cell-protocol.ts'
import { WATCH_PARENT } from '../host/child-command.ts'
import { createInlineFactory } from './inline.ts'
import { watchParent } from './parent-watch.ts'
import type { Sandbox, SandboxFactory, Taint } from './sandbox.ts'

/** A cell: a process that holds isolates and nothing else. File descriptor 3 leads to its parent, and it ends with it. */
const PARENT = 3

const sandboxes = new Map<number, Sandbox>()
let factory: SandboxFactory | undefined
/** Messages that came before the prelude was loaded. */
const early: ToCell[] = []

// A signal to the whole terminal's process group is the parent's to act on; it drains and then closes the pipe.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => {})

if (process.argv.includes(WATCH_PARENT)) watchParent()

const channel = new Channel<FromCell, ToCell>(
  new Socket({ fd: PARENT, readable: true, writable: true }),
  receive,
  // An isolate that cannot be interrupted would hold an ordinary exit up for ever.
  () => process.kill(process.pid, 'SIGKILL'),
)

function receive(message: ToCell): void {
  if (message.type === 'configure') {
    void configure(message)
    return
  }
  if (message.type === 'ping') {
    channel.send({ type: 'pong', rssBytes: process.memoryUsage.rss() })
    return
  }
  if (factory === undefined) {
    early.push(message)
    return
  }
  if (message.type === 'create') create(factory, message)
  else if (message.type === 'dispatch') sandboxes.get(message.sandbox)?.dispatch(message.batch)
  else {
    sandboxes.get(message.sandbox)?.dispose()
    sandboxes.delete(message.sandbox)
  }
}

async function configure(message: ToCell & { type: 'configure' }): Promise<void> {
  const tainted = (taint: Taint) => channel.send({ type: 'tainted', taint })
  factory = await createInlineFactory({ egress: message.egress, tainted, cores: message.cores })
  for (const waiting of early.splice(0)) receive(waiting)
}

function create(factory: SandboxFactory, { sandbox: id, spec }: ToCell & { type: 'create' }): void {
  const sandbox = factory.create(spec, {
    emit: (batch) => channel.send({ type: 'emit', sandbox: id, batch }),
    settled: (report) => channel.send({ type: 'settled', sandbox: id, report }),
    retire: () => channel.send({ type: 'retire', sandbox: id }),
    ended: (failure) => {
      sandboxes.delete(id)
      channel.send({ type: 'ended', sandbox: id, failure })
    },
  })
  sandboxes.set(id, sandbox)
  sandbox.ready.then(
    (report) => channel.send({ type: 'ready', sandbox: id, report }),
    (error: unknown) => {
      sandboxes.delete(id)
      const stack = error instanceof SkepError ? String(error.details?.stack ?? '') : String((error as Error).stack)
      channel.send({ type: 'refused', sandbox: id, message: (error as Error).message, stack })
    },
  )
}
