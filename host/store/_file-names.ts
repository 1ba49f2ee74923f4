import { join } from 'node:path'

/*
 * How a key becomes a path. Key 'a' and key 'a/b' may both exist, so a file's name ends in '=', a folder's does not:
 *
 *   routes/example.com     objects/routes/example.com=
 *   a, a/b                 objects/a=, objects/a/b=
 *   routes/*.Example.com   objects/routes/*.%45xample.com=
 *   (more than 200 bytes)  objects/<200 bytes>+/<the rest>=
 *
 * Lower-case ASCII letters, digits and '-_.*' stand for themselves, save for a '.' in front (hidden files). All else is
 * percent-encoded: upper-case letters since macOS and Windows merge 'A' and 'a', bytes beyond ASCII since macOS changes
 * their normal form, '=' and '+' since they are marks here.
 */
const FILE = '='
export const CONTINUED = '+'

/** A name ends at 255 bytes; the mark and what tools append (`.bak`) want room. */
const MAX_NAME = 200

/** The path below the store's folder of objects. */
export function keyToPath(key: string): string {
  return join(...key.split('/').flatMap((segment, i, all) => segmentToNames(segment, i === all.length - 1)))
}

/** The folder that holds the segments below `segments`. */
export function segmentsToFolder(segments: string[]): string {
  return join('.', ...segments.flatMap((segment) => segmentToNames(segment, false)))
}

function segmentToNames(segment: string, isFile: boolean): string[] {
  let rest = encodeSegment(segment)
  const names: string[] = []
  while (rest.length > MAX_NAME) {
    names.push(rest.slice(0, MAX_NAME) + CONTINUED)
    rest = rest.slice(MAX_NAME)
  }
  names.push(isFile ? rest + FILE : rest)
  return names
}

function encodeSegment(segment: string): string {
  let encoded = ''
  for (const byte of Buffer.from(segment)) {
    const char = String.fromCharCode(byte)
    encoded += /[a-z0-9*_-]/.test(char) || (char === '.' && encoded !== '') ? char : `%${byte.toString(16).padStart(2, '0')}`
  }
  return encoded
}

/** What a name in a folder stands for; `encoded` is the segment or, of a continued one, its first part. */
export interface FolderName {
  kind: 'file' | 'folder' | 'continued'
  encoded: string
}

/** Undefined for what the store did not write: `.DS_Store`, `lost+found`, an editor's backup. */
export function readName(name: string): FolderName | undefined {
  const last = name.at(-1)
  const kind = last === FILE ? 'file' : last === CONTINUED ? 'continued' : 'folder'
  const encoded = kind === 'folder' ? name : name.slice(0, -1)
  if (!/^[a-z0-9*_.%-]+$/.test(encoded) || encoded.startsWith('.')) return undefined
  return { kind, encoded }
}

/** The segment, or undefined where `encoded` is not what `encodeSegment` makes of any. */
export function decodeSegment(encoded: string): string | undefined {
  if (!encoded.includes('%')) return encoded
  try {
    const segment = decodeURIComponent(encoded)
    return encodeSegment(segment) === encoded ? segment : undefined
  } catch {
    return undefined
  }
}
