import { originalPositionFor, TraceMap } from '@jridgewell/trace-mapping'

/** A tenant can throw whatever it likes as a stack; what is beyond these is cut. */
const MAX_CHARS = 65_536
const MAX_LINES = 200
const MAX_SOURCE_NAME = 300

/**
 * Makes stacks name the author's own sources: `at name (file:///bundle.js:1:2345)` becomes `at name (src/index.ts:12:5)`.
 * Frames of skep's own code in the isolate are dropped. Never throws, whatever the map and the stack hold. The map is
 * parsed at the first stack that needs it.
 */
export function createStackMapper(sourceMapJson: string, bundleFilename: string): (stack: string) => string {
  let map: TraceMap | undefined
  let parsed = sourceMapJson === ''
  const escaped = bundleFilename.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
  const position = new RegExp(`${escaped}:(\\d{1,9}):(\\d{1,9})`, 'g')

  const locate = (match: string, line: string, column: string): string => {
    if (!parsed) {
      parsed = true
      map = parse(sourceMapJson)
    }
    if (map === undefined) return match
    try {
      const found = originalPositionFor(map, { line: Number(line), column: Number(column) - 1 })
      if (found.source === null) return match
      return `${printable(found.source)}:${found.line}:${found.column + 1}`
    } catch {
      // trace-mapping throws for line 0, and for mappings that are not what the format says.
      return match
    }
  }

  return (stack) => {
    if (typeof stack !== 'string') return ''
    const lines = stack.slice(0, MAX_CHARS).split('\n', MAX_LINES)
    const kept: string[] = []
    for (const line of lines) {
      if (!FRAME.test(line)) kept.push(line)
      else if (!OWN.test(line)) kept.push(line.replace(position, locate))
    }
    return kept.join('\n')
  }
}

const FRAME = /^\s{1,16}at |^file:\/\/\//
const OWN = /file:\/\/\/skep\/|<isolated-vm boundary>/

function parse(json: string): TraceMap | undefined {
  try {
    return new TraceMap(json)
  } catch {
    return undefined
  }
}

/** The map comes with the upload: a source's name must not break out of its line of the log. */
function printable(name: string): string {
  return name.slice(0, MAX_SOURCE_NAME).replace(/\p{Cc}/gu, '\ufffd')
}
