import { AbortController, AbortSignal, setAbortTimer } from './abort.ts'
import { atob, btoa } from './base64.ts'
import { installBuffers } from './buffers.ts'
import { installClock, removeWaits, Performance } from './clock.ts'
import { collect } from './collect.ts'
import { createConsole, inspect, inspectAs } from './console.ts'
import { currentEvent } from './current.ts'
import { DOMException } from './dom-exception.ts'
import { TextDecoder, TextEncoder } from './encoding.ts'
import { TextDecoderStream, TextEncoderStream } from './encoding-streams.ts'
import { Event, EventTarget, setEventClock, setReporter } from './event-target.ts'
import { CustomEvent, ErrorEvent, PromiseRejectionEvent } from './events.ts'
import { shareProgress } from './event.ts'
import { fetch } from './fetch.ts'
import { installFinalization, runFinalizers } from './finalization.ts'
import { fieldsOf, Headers } from './headers.ts'
import { log, setLogLimit } from './log.ts'
import { dispatch, handlerNames, setHandlers } from './loop.ts'
import { measureAt, setMemoryLimit } from './memory.ts'
import { installNoEval, lockPromises, removeRealms } from './no-eval.ts'
import { connectOutbox, flush, post } from './outbox.ts'
import { objectDefineProperty } from './primordials.ts'
import { Emit, Progress } from '../protocol.ts'
import type { Batch, GuestOptions } from '../protocol.ts'
import { createCrypto, createRandom, Crypto } from './random.ts'
import { describe, reportException, setFormatter } from './report.ts'
import { Request } from './request.ts'
import { Response } from './response.ts'
import { structuredClone } from './structured-clone.ts'
import * as streams from './streams.ts'
import { clearTimeout, setInterval, setTimeout, setTimerLimit } from './timers.ts'
import { URL } from './url.ts'
import { URLSearchParams } from './url-search-params.ts'
import { installWasm } from './wasm.ts'

/**
 * Installs the Web APIs and leaves one hidden global, `__skep`, for the host to connect by. The host takes it and removes
 * it before any tenant code runs. Evaluated when the snapshot is made, so nothing here may differ between isolates.
 */
const scope = globalThis as unknown as Record<string, unknown>

const clock = installClock(scope)
let random: ReturnType<typeof createRandom> | undefined
const crypto = createCrypto(() => random!)
const console = createConsole(
  (level, text) => log(currentEvent(), level, text),
  () => clock.performance.now(),
)
inspectAs(URL, (url) => (url as URL).href)
inspectAs(Headers, (headers) => fieldsOf(headers as Headers))
inspectAs(Request, (request) => ({ method: (request as Request).method, url: (request as Request).url }))
inspectAs(Response, (response) => ({ status: (response as Response).status }))
setFormatter(inspect)
setReporter(reportException)
setEventClock(() => clock.performance.now())
setAbortTimer((run, delay) => void setTimeout(run, delay))

function queueMicrotask(callback: () => void): void {
  if (typeof callback !== 'function') throw new TypeError('queueMicrotask needs a function')
  void callSoon(callback)
}

async function callSoon(callback: () => void): Promise<void> {
  await undefined
  try {
    callback()
  } catch (error) {
    reportException(error)
  }
}

/** Functions and classes are not enumerable, as on every global; objects are. */
function install(name: string, value: unknown, enumerable = false): void {
  objectDefineProperty(scope, name, { value, writable: true, enumerable, configurable: true })
}

const interfaces = {
  AbortController,
  AbortSignal,
  Crypto,
  CustomEvent,
  DOMException,
  ErrorEvent,
  Event,
  EventTarget,
  Headers,
  Performance,
  PromiseRejectionEvent,
  Request,
  Response,
  TextDecoder,
  TextDecoderStream,
  TextEncoder,
  TextEncoderStream,
  URL,
  URLSearchParams,
}
for (const [name, value] of Object.entries({ ...interfaces, ...streams })) install(name, value)
const functions = {
  atob,
  btoa,
  clearInterval: clearTimeout,
  clearTimeout,
  fetch,
  queueMicrotask,
  setInterval,
  setTimeout,
  structuredClone,
}
for (const [name, value] of Object.entries(functions)) install(name, value, true)
install('console', console)
install('crypto', crypto, true)
install('performance', clock.performance, true)
install('self', globalThis, true)
install('navigator', Object.freeze({ userAgent: 'skep' }), true)
install('reportError', reportException, true)
installNoEval(scope)

lockPromises()
installFinalization(scope)
installBuffers(scope)

install('__skep', {
  collect,
  flush,
  /** Before the bundle runs. `emit` takes batches for the host. Returns the entry for every later message. */
  connect(emit: (batch: Batch) => void, options: GuestOptions, shared: ArrayBuffer): (now: number, batch: Batch) => void {
    delete scope.__skep
    const progress = new Int32Array(shared)
    setMemoryLimit(options.memoryBytes, (bytes) => {
      progress[Progress.meteredKb] = bytes / 1024
    })
    // V8 puts these into every context that it makes from a snapshot.
    removeWaits(scope)
    removeRealms(scope)
    installWasm(scope)
    connectOutbox(emit)
    shareProgress(progress)
    setLogLimit(options.logBytes)
    setTimerLimit(options.timers)
    random = createRandom(options.seed)
    clock.setNow(options.now)
    environment = options.env
    return (now, batch) => {
      clock.setNow(now)
      dispatch(batch)
      runFinalizers()
      measureAt(now)
    }
  },
  /** After the bundle ran: its exports, or the promise of them. Answers with `started`. */
  start(exports: unknown, isAsync: boolean): void {
    if (isAsync) void startLater(exports)
    else started(exports)
  },
})
let environment: unknown

async function startLater(exports: unknown): Promise<void> {
  try {
    started(await exports)
  } catch (error) {
    post(Emit.started, describe(error).message, describe(error).stack, [])
  }
}

/** Nothing is thrown to the host: it would read the message and stack of what the tenant threw, and run getters for it. */
function started(exports: unknown): void {
  try {
    const problem = setHandlers(exports, environment)
    if (problem === '') post(Emit.started, '', '', handlerNames())
    else post(Emit.started, problem, '', [])
  } catch (error) {
    post(Emit.started, describe(error).message, describe(error).stack, [])
  }
}
