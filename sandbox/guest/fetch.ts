import { abortReason, addAbortAlgorithm, isAborted, removeAbortAlgorithm } from './abort.ts'
import { ByteReader, BytesReader, takeBody } from './body.ts'
import { HostBody } from './host-body.ts'
import { cancelOperation, startOperation } from './operations.ts'
import type { BodySource } from './operations.ts'
import { takesWhole } from './outbox.ts'
import { typedArrayLength } from './primordials.ts'
import { currentFields, isRequest, Request, requestParts } from './request.ts'
import type { RequestInit } from './request.ts'
import { incomingResponse } from './response.ts'
import type { Response } from './response.ts'
import type { URL } from './url.ts'
import { utf8Encode } from './utf8-encode.ts'
import { requireArguments } from './webidl.ts'

/** What sends a body in chunks; null for one that goes with the request. */
function sourceOf(taken: ReturnType<typeof takeBody>): BodySource | null {
  if (typeof taken === 'string') return takesWhole(taken.length) ? null : new BytesReader(utf8Encode(taken))
  if (taken === null || taken instanceof HostBody || taken instanceof ByteReader) return taken
  return takesWhole(typedArrayLength(taken)) ? null : new BytesReader(taken)
}

/** Sends a request through the host, which decides what may be reached. Rejects with a TypeError where it could not. */
export async function fetch(input: string | URL | Request, init?: RequestInit): Promise<Response> {
  requireArguments(arguments.length, 1, 'fetch')
  const request = isRequest(input) && init === undefined ? input : new Request(input, init)
  const { method, url, redirect, body, signal } = requestParts(request)
  if (signal !== null && isAborted(signal)) throw abortReason(signal)
  const taken = takeBody(body)
  const source = sourceOf(taken)
  const streamed = source !== null
  const length = source instanceof BytesReader ? source.length : undefined
  const argument = {
    method,
    url,
    redirect,
    headers: currentFields(request),
    body: streamed ? null : (taken as string | Uint8Array | null),
    streamed,
    length,
  }
  const abort = () => cancelOperation(id, abortReason(signal!))
  // A signal may outlive many requests: it lets go of each as it ends.
  const { id, result } = startOperation('fetch', argument, source, () => {
    if (signal !== null) removeAbortAlgorithm(signal, abort)
  })
  if (signal !== null) addAbortAlgorithm(signal, abort)
  const { head, body: incoming } = await result
  return incomingResponse({
    status: head.status as number,
    statusText: head.statusText as string,
    url: head.url as string,
    redirected: head.redirected as boolean,
    fields: head.headers as string[],
    body: incoming,
  })
}
