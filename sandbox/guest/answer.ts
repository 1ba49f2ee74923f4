import { ByteReader, BytesReader, cancelBody, cutText, takeBody, TextReader } from './body.ts'
import { DOMException } from './dom-exception.ts'
import { fail, release } from './event.ts'
import type { EventState } from './event.ts'
import { HostBody } from './host-body.ts'
import { post, postChunk } from './outbox.ts'
import { arrayPush, PromiseConstructor, typedArrayByteLength, typedArrayLength, typedArraySlice } from './primordials.ts'
import { Emit, INITIAL_CREDIT } from '../protocol.ts'
import { describe, reportException } from './report.ts'
import { isResponse, responseParts } from './response.ts'

/** From what a handler returned to what leaves the isolate. */
export function answer(event: EventState, response: unknown): void {
  if (!isResponse(response)) {
    const what = response === undefined ? 'nothing' : response === null ? 'null' : `a value of type ${typeof response}`
    fail(event, 'no_response', `The fetch handler returned ${what}, not a Response`, '')
    return
  }
  let parts
  let body
  try {
    parts = responseParts(response)
    if (event.aborted) {
      cancelBody(parts.body, new DOMException(CLIENT_GONE, 'AbortError'))
      release(event)
      return
    }
    body = takeBody(parts.body)
  } catch (error) {
    fail(event, 'bad_response', describe(error).message, '')
    return
  }
  if (parts.type === 'error') {
    fail(event, 'bad_response', 'The fetch handler returned Response.error()', '')
    return
  }
  event.answered = true
  const source = sourceOf(body)
  if (source !== null) {
    const whole = source instanceof BytesReader || source instanceof TextReader
    const fields = whole ? withLength(parts.fields, source instanceof BytesReader ? source.length : -1) : parts.fields
    post(Emit.head, event.id, parts.status, fields)
    void sendBody(event, source)
    return
  }
  post(Emit.response, event.id, parts.status, parts.fields, body as string | Uint8Array | null)
  release(event)
}

/**
 * What is read chunk by chunk, at the pace of the client. A long body waits here, where it counts against the function's
 * memory, and not with the host, for a client that may read slowly.
 */
function sourceOf(body: ReturnType<typeof takeBody>): Source | null {
  if (body === null) return null
  if (typeof body === 'string') return body.length > INITIAL_CREDIT ? new TextReader(body) : null
  if (body instanceof HostBody || body instanceof ByteReader) return body
  return typedArrayLength(body) > INITIAL_CREDIT ? new BytesReader(body) : null
}

/** The fields with the length that the body has, -1 for one that is not known, whatever they say themselves. */
function withLength(fields: string[], length: number): string[] {
  const kept: string[] = []
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] === 'content-length') continue
    arrayPush(kept, fields[i]!)
    arrayPush(kept, fields[i + 1]!)
  }
  if (length < 0) return kept
  arrayPush(kept, 'content-length')
  arrayPush(kept, `${length}`)
  return kept
}

type Source = HostBody | ByteReader | BytesReader | TextReader

const CLIENT_GONE = 'The client went away'

/** Sends a streamed body, as fast as the client takes it. */
async function sendBody(event: EventState, body: Source): Promise<void> {
  try {
    for (;;) {
      await room(event)
      const chunk = event.aborted ? null : await body.read()
      if (event.aborted) {
        body.cancel(new DOMException(CLIENT_GONE, 'AbortError'))
        break
      }
      if (chunk === null) {
        post(Emit.end, event.id)
        break
      }
      if (typeof chunk === 'string') await sendText(event, chunk)
      else await sendChunk(event, chunk)
    }
  } catch (error) {
    reportException(error)
    post(Emit.broken, event.id, describe(error).message)
  }
  release(event)
}

/** One chunk of the tenant's may be larger than what the host has room for: it leaves in pieces. */
async function sendChunk(event: EventState, chunk: Uint8Array): Promise<void> {
  const length = typedArrayByteLength(chunk)
  for (let at = 0; at < length && !event.aborted;) {
    await room(event)
    const end = at + event.credit
    const piece = at === 0 && end >= length ? chunk : typedArraySlice(chunk, at, end)
    at += typedArrayByteLength(piece)
    event.credit -= typedArrayByteLength(piece)
    if (!event.aborted) postChunk(Emit.chunk, event.id, piece)
  }
}

async function sendText(event: EventState, text: string): Promise<void> {
  for (let at = 0; at < text.length && !event.aborted;) {
    await room(event)
    const piece = cutText(text, at, at + event.credit)
    at += piece.length
    event.credit -= piece.length
    if (!event.aborted) post(Emit.chunk, event.id, piece)
  }
}

/** Waits until the host has room, or no one wants the rest. */
async function room(event: EventState): Promise<void> {
  while (event.credit <= 0 && !event.aborted) {
    await new PromiseConstructor<void>((resolve) => {
      event.wake = resolve
    })
  }
}

export function addCredit(event: EventState | undefined, bytes: number): void {
  if (event === undefined) return
  event.credit += bytes
  wake(event)
}

export function wake(event: EventState): void {
  const resume = event.wake
  event.wake = null
  resume?.()
}
