/** Everything of the Web API modules as globals, for `isolate-child.ts`: what main.ts does, without the host's side. */
import * as abort from '../guest/abort.ts'
import * as base64 from '../guest/base64.ts'
import { installClock } from '../guest/clock.ts'
import { createConsole, inspect } from '../guest/console.ts'
import { DOMException } from '../guest/dom-exception.ts'
import { TextDecoderStream, TextEncoderStream } from '../guest/encoding-streams.ts'
import { TextDecoder, TextEncoder } from '../guest/encoding.ts'
import { Event, EventTarget } from '../guest/event-target.ts'
import { CustomEvent, ErrorEvent, PromiseRejectionEvent } from '../guest/events.ts'
import { installNoEval } from '../guest/no-eval.ts'
import { type Random, createCrypto, createRandom } from '../guest/random.ts'
import * as streams from '../guest/streams.ts'
import { structuredClone } from '../guest/structured-clone.ts'
import { URLSearchParams } from '../guest/url-search-params.ts'
import { URL } from '../guest/url.ts'

const logged: string[] = []
const clock = installClock(globalThis)
let random: Random
const { AbortController, AbortSignal } = abort
const installed = {
  ...streams,
  ...base64,
  AbortController,
  AbortSignal,
  CustomEvent,
  DOMException,
  ErrorEvent,
  Event,
  EventTarget,
  PromiseRejectionEvent,
  TextDecoder,
  TextDecoderStream,
  TextEncoder,
  TextEncoderStream,
  URL,
  URLSearchParams,
  structuredClone,
  crypto: createCrypto(() => random),
  performance: clock.performance,
  console: createConsole(
    (level, text) => void (logged[logged.length] = `${level} ${text}`),
    clock.performance.now.bind(clock.performance),
  ),
  inspect,
  testHooks: {
    logged,
    setNow: clock.setNow,
    seed: (seed: Uint8Array) => {
      random = createRandom(seed)
    },
  },
}
for (const [name, value] of Object.entries(installed)) {
  Object.defineProperty(globalThis, name, { value, writable: true, enumerable: false, configurable: true })
}
installNoEval(globalThis)
