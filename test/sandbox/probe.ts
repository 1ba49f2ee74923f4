import { DEFAULT_LIMITS } from '../../sandbox/limits.ts'
import type { Limits } from '../../sandbox/limits.ts'
import { BodyKind, EMIT_FIELDS, Emit, Submit } from '../../sandbox/protocol.ts'
import type { Batch, Field } from '../../sandbox/protocol.ts'
import type { RunReport, Sandbox, SandboxFactory, SandboxFailure, SandboxObserver, SandboxSpec } from '../../sandbox/sandbox.ts'

/** CPU that no test comes near on a busy machine; tests of the limits set their own. */
const ROOMY: Limits = { ...DEFAULT_LIMITS, cpuMs: 2_000, startMs: 4_000, memoryMb: 64 }

export const LOOP_ID = 'skep-test'

export interface ProbeOptions {
  /** The tenant's own lists. */
  egress?: SandboxSpec['egress']
  limits?: Partial<Limits>
  env?: Record<string, string>
  bundle?: Partial<SandboxSpec['bundle']>
}

export interface Answer {
  status: number
  headers: string[]
  body: string
}

/** A sandbox with a recorder for an observer: what a host is to it, with nothing hidden. */
export class Probe implements SandboxObserver {
  readonly sandbox: Sandbox
  /** Every message in order: [type, …fields]. */
  readonly messages: Field[][] = []
  readonly failures: SandboxFailure[] = []
  readonly reports: RunReport[] = []
  retired = 0
  #waiters: { ready: () => unknown; resolve: (value: never) => void }[] = []
  #lastEvent = 0

  /** `code` is a script whose value is the module's namespace. */
  constructor(factory: SandboxFactory, code: string, options: ProbeOptions = {}) {
    const bundle = { code, async: false, modules: {}, sourceMap: '', nodejs: false, ...options.bundle }
    this.sandbox = factory.create(
      {
        ...{ name: 'test/function', version: '1'.repeat(16), tenant: 'test', cordon: 'default' },
        ...{
          egress: options.egress ?? { allow: [], deny: [] },
          loopId: LOOP_ID,
          bundle,
          env: options.env ?? {},
          limits: { ...ROOMY, ...options.limits },
        },
      },
      this,
    )
  }

  emit(batch: Batch): void {
    for (let at = 0; at < batch.length;) {
      const next = at + EMIT_FIELDS[batch[at] as number]! + 1
      this.messages.push(batch.slice(at, next))
      at = next
    }
    this.#look()
  }

  settled(report: RunReport): void {
    this.reports.push(report)
    this.#look()
  }

  retire(): void {
    this.retired++
    this.#look()
  }

  ended(failure: SandboxFailure): void {
    this.failures.push(failure)
    this.#look()
  }

  /** Resolves with what `find` finds, at once or after a later message. A test that waits in vain ends by its time limit. */
  until<T>(find: () => T | undefined | false): Promise<T> {
    const found = find()
    if (found !== undefined && found !== false) return Promise.resolve(found)
    return new Promise((resolve) => this.#waiters.push({ ready: find, resolve: resolve as (value: never) => void }))
  }

  #look(): void {
    for (const waiter of [...this.#waiters]) {
      const found = waiter.ready()
      if (found === undefined || found === false) continue
      this.#waiters.splice(this.#waiters.indexOf(waiter), 1)
      waiter.resolve(found as never)
    }
  }

  newEvent(): number {
    return ++this.#lastEvent
  }

  /** Messages of a type that concern an event. */
  of(type: number, event: number): Field[][] {
    return this.messages.filter((message) => message[0] === type && message[1] === event)
  }

  logs(event?: number): string[] {
    return this.messages
      .filter((message) => message[0] === Emit.log && (event === undefined || message[1] === event))
      .map((message) => `${message[2] as string}: ${message[3] as string}`)
  }

  /** Submits a request; its event's number. */
  send(
    path = '/',
    init: { method?: string; headers?: string[]; body?: string | Uint8Array | 'stream'; event?: number } = {},
  ): number {
    const event = init.event ?? this.newEvent()
    this.sandbox.dispatch(fetchMessage(event, path, init))
    return event
  }

  schedule(cron: string, time: number): number {
    const event = this.newEvent()
    this.sandbox.dispatch([Submit.scheduled, event, 'request-id', cron, time])
    return event
  }

  done(event: number): Promise<unknown> {
    return this.until(() => this.of(Emit.done, event).length > 0)
  }

  failure(): Promise<SandboxFailure> {
    return this.until(() => this.failures[0])
  }

  /** The whole answer, streamed ones with credit as it is used. Throws for a failed event, with the failure in its message. */
  async answer(event: number): Promise<Answer> {
    let credited = 0
    const end = await this.until(() => {
      const chunks = this.of(Emit.chunk, event)
      for (; credited < chunks.length; credited++)
        this.sandbox.dispatch([Submit.credit, event, (chunks[credited]![2] as string | Uint8Array).length])
      return [
        ...this.of(Emit.response, event),
        ...this.of(Emit.end, event),
        ...this.of(Emit.broken, event),
        ...this.of(Emit.failed, event),
      ][0]
    })
    if (end[0] === Emit.failed) throw new Error(`${end[2] as string}: ${end[3] as string}`)
    if (end[0] === Emit.broken) throw new Error(`broken: ${end[2] as string}`)
    if (end[0] === Emit.response)
      return { status: end[2] as number, headers: end[3] as string[], body: textOf(end[4] as string | Uint8Array | null) }
    const head = this.of(Emit.head, event)[0]!
    return { status: head[2] as number, headers: head[3] as string[], body: textOf(this.streamed(event)) }
  }

  streamed(event: number): Uint8Array {
    return Buffer.concat(this.of(Emit.chunk, event).map((message) => Buffer.from(message[2] as string | Uint8Array)))
  }

  /** One request and its answer's text. */
  async get(path = '/', init: Parameters<Probe['send']>[1] = {}): Promise<string> {
    return (await this.answer(this.send(path, init))).body
  }
}

export function fetchMessage(
  event: number,
  path: string,
  init: { method?: string; headers?: string[]; body?: string | Uint8Array | 'stream' } = {},
): Batch {
  const streams = init.body === 'stream'
  const whole =
    typeof init.body === 'string' && !streams
      ? new TextEncoder().encode(init.body)
      : init.body instanceof Uint8Array
        ? init.body
        : null
  const kind = streams ? BodyKind.stream : whole === null ? BodyKind.none : BodyKind.whole
  const method = init.method ?? (kind === BodyKind.none ? 'GET' : 'POST')
  return [Submit.fetch, event, `request-${event}`, method, `http://function.test${path}`, [...(init.headers ?? [])], kind, whole]
}

export function textOf(body: string | Uint8Array | null): string {
  return body === null ? '' : typeof body === 'string' ? body : Buffer.from(body).toString()
}

/** A module with a fetch handler of this body, and what goes before it. */
export function handler(body: string, top = ''): string {
  return `(() => { ${top}\nreturn { default: { async fetch(request, env, ctx) { ${body} } } } })()`
}
