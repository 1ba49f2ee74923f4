import type { Metafile } from 'esbuild'
import { SkepError } from '../host/errors.ts'
import type { Bundle } from './artifact.ts'
import { GENERATED } from './failure.ts'

/** `bundle_too_large`, naming what takes the most. */
export function tooLarge(bundle: Bundle, bytes: number, maxBytes: number, metafile: Metafile): SkepError {
  const output = Object.values(metafile.outputs).find((output) => GENERATED in output.inputs)
  const inputs = [
    ...Object.entries(output?.inputs ?? {}).map(([file, input]) => ({ file, bytes: input.bytesInOutput })),
    ...Object.entries(bundle.modules).map(([file, module]) => ({ file, bytes: module.length })),
  ]
  const biggest = inputs.sort((a, b) => b.bytes - a.bytes).slice(0, 5)
  const parts = `code ${size(Buffer.byteLength(bundle.code))}, source map ${size(Buffer.byteLength(bundle.sourceMap))}`
  const list = biggest.map((input) => `  ${size(input.bytes).padStart(9)}  ${input.file}`).join('\n')
  return new SkepError(
    'bundle_too_large',
    `The bundle has ${size(bytes)} (${parts}); the limit is ${size(maxBytes)}. The biggest parts:\n${list}`,
    { details: { bytes, allowed: maxBytes, biggest } },
  )
}

function size(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`
  return bytes < 1_048_576 ? `${(bytes / 1024).toFixed(1)} kB` : `${(bytes / 1_048_576).toFixed(1)} MB`
}
