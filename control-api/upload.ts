import { decodeBundle, hashBytes } from '../bundler/artifact.ts'
import { SkepError } from '../host/errors.ts'
import type { VersionSettings } from '../host/records.ts'
import { limitBody } from './limited-body.ts'
import { uploadMetadata } from './schemas.ts'

/** Bytes of the part `metadata`. */
const METADATA_BYTES = 1_048_576
/** Boundaries and headers of the parts. */
const OVERHEAD_BYTES = 16_384

/**
 * The parts of an upload: `metadata` (JSON: vars, limits, tag, sha256) and `bundle` (what `encodeBundle` made). At most the
 * limit is ever held. Throws `bundle_too_large`, `bundle_rejected` or `invalid_request`.
 */
export async function readUpload(
  request: Request,
  bundleBytes: number,
): Promise<{ bytes: Uint8Array; settings: VersionSettings }> {
  const type = request.headers.get('content-type') ?? ''
  if (!/^multipart\/form-data\s*;/i.test(type)) throw bad('An upload is multipart/form-data with the parts metadata and bundle.')
  const body = limitBody(request, bundleBytes + METADATA_BYTES + OVERHEAD_BYTES, 'bundle_too_large')
  let form: FormData
  try {
    form = await new Response(body.stream, { headers: { 'content-type': type } }).formData()
  } catch (cause) {
    throw body.failure ?? bad('The multipart body is malformed or was cut off.', cause)
  }
  const strange = [...form.keys()].find((name) => name !== 'metadata' && name !== 'bundle')
  if (strange !== undefined)
    throw bad(`There is no part ${JSON.stringify(strange.slice(0, 80))}; the parts are metadata and bundle.`)

  const { sha256, ...settings } = parseMetadata(await onePart(form, 'metadata').text())
  const bundle = onePart(form, 'bundle')
  if (bundle.size > bundleBytes) {
    const hint = 'Leave out what the function does not need, or ask the operator.'
    throw new SkepError('bundle_too_large', `The bundle has ${bundle.size} bytes; ${bundleBytes} are allowed. ${hint}`, {
      details: { size: bundle.size, allowed: bundleBytes },
    })
  }
  const bytes = new Uint8Array(await bundle.arrayBuffer())
  if (sha256 !== undefined && sha256 !== hashBytes(bytes)) {
    throw new SkepError(
      'bundle_rejected',
      'The bundle does not have the SHA-256 that its metadata gives: it was damaged on the way.',
    )
  }
  decodeBundle(bytes)
  return { bytes, settings }
}

function onePart(form: FormData, name: string): Blob {
  const parts = form.getAll(name)
  if (parts.length !== 1) throw bad(`An upload has one part ${name}; this has ${parts.length}.`)
  const part = parts[0]!
  return typeof part === 'string' ? new Blob([part]) : part
}

function parseMetadata(text: string) {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw bad('The part metadata is no JSON.', cause)
  }
  const result = uploadMetadata.safeParse(value)
  if (result.success) return result.data
  throw bad(
    result.error.issues.map(({ path, message }) => ['metadata', ...path.map(String)].join('.') + `: ${message}`).join('; '),
  )
}

function bad(message: string, cause?: unknown): SkepError {
  return new SkepError('invalid_request', message, { cause })
}
