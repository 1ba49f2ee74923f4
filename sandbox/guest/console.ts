import {
  arrayPush,
  defineData,
  isArray,
  mapDelete,
  mapGet,
  mapSet,
  numberToString,
  objectCreate,
  stringIndexOf,
  stringPadEnd,
  stringRepeat,
  stringSlice,
} from './primordials.ts'
import { type InspectOptions, inspect, toJson } from './inspect.ts'
import { type Table, tableOf } from './console-table.ts'

export { inspect, inspectAs } from './inspect.ts'

export type Level = 'debug' | 'info' | 'warn' | 'error'

/** One line of log is at most this long. */
const MAX_LINE = 65_536
const MAX_INDENT = 80

const NativeError = Error
const MapConstructor = Map

/** The arguments of a console method as one text; `%s`, `%d`, `%i`, `%f`, `%j`, `%o`, `%O`, `%c` and `%%` in the first. */
export function formatLog(values: unknown[]): string {
  let text = ''
  let next = 0
  if (typeof values[0] === 'string') {
    next = 1
    text = values.length === 1 ? values[0] : ''
    const template = values[0]
    for (let done = 0, i = 0; values.length > 1;) {
      i = stringIndexOf(template, '%', i)
      if (i < 0 || i + 1 >= template.length) {
        text += stringSlice(template, done)
        break
      }
      const kind = template[i + 1]!
      const percent = kind === '%'
      if (percent || (next < values.length && stringIndexOf('sdifjoOc', kind) >= 0)) {
        text += stringSlice(template, done, i) + (percent ? '%' : substitute(kind, values[next++]))
        done = i + 2
      }
      i += 2
    }
  }
  for (; next < values.length && text.length < MAX_LINE; next++) {
    const value = values[next]
    text += (next > 0 ? ' ' : '') + (typeof value === 'string' ? value : inspect(value))
  }
  return text.length > MAX_LINE ? stringSlice(text, 0, MAX_LINE) + '…' : text
}

const ONE_LEVEL: InspectOptions = { depth: 0 }

function substitute(kind: string, value: unknown): string {
  const isObject = (typeof value === 'object' && value !== null) || typeof value === 'function'
  switch (kind) {
    case 's':
      return typeof value === 'string' ? value : inspect(value, ONE_LEVEL)
    case 'd':
    case 'f':
    case 'i': {
      if (typeof value === 'bigint') return `${value}n`
      // Converting an object would call its methods.
      if (isObject || typeof value === 'symbol') return 'NaN'
      const number =
        kind === 'd' ? Number_(value) : kind === 'i' ? parseInt_(`${value as string}`, 10) : parseFloat_(`${value as string}`)
      return numberToString(number)
    }
    case 'j':
      return toJson(value)
    case 'c':
      return ''
    default:
      return inspect(value)
  }
}

const Number_ = Number
const parseInt_ = parseInt
const parseFloat_ = parseFloat

export type Console = Record<string, (...values: unknown[]) => void>

/** `sink` gets a level and a text; `now` is read by `time` and its kin. */
export function createConsole(sink: (level: Level, text: string) => void, now: () => number): Console {
  const counts = new MapConstructor<string, number>()
  const timers = new MapConstructor<string, number>()
  let indent = ''

  function write(level: Level, text: string): void {
    sink(level, indent === '' ? text : indentLines(text, indent))
  }
  function time(label: string, values: unknown[], ends: boolean): void {
    const start = mapGet(timers, label)
    if (start === undefined) return write('warn', `No such label '${label}' for console.time${ends ? 'End' : 'Log'}()`)
    if (ends) mapDelete(timers, label)
    const rest = values.length === 0 ? '' : ' ' + formatLog(values)
    write('info', `${label}: ${now() - start}ms${rest}`)
  }

  const methods = {
    log: (...values: unknown[]) => write('info', formatLog(values)),
    info: (...values: unknown[]) => write('info', formatLog(values)),
    debug: (...values: unknown[]) => write('debug', formatLog(values)),
    warn: (...values: unknown[]) => write('warn', formatLog(values)),
    error: (...values: unknown[]) => write('error', formatLog(values)),
    trace: (...values: unknown[]) => {
      const { stack } = new NativeError()
      const at = typeof stack === 'string' ? stringIndexOf(stack, '\n') : -1
      // The first frame is this function.
      const frames = at < 0 ? '' : stringSlice(stack!, stringIndexOf(stack!, '\n', at + 1))
      write('error', `Trace: ${formatLog(values)}${frames}`)
    },
    assert: (condition?: unknown, ...values: unknown[]) => {
      if (condition) return
      write('error', values.length === 0 ? 'Assertion failed' : `Assertion failed: ${formatLog(values)}`)
    },
    dir: (value?: unknown) => write('info', inspect(value)),
    dirxml: (...values: unknown[]) => write('info', formatLog(values)),
    table: (data?: unknown, columns?: unknown) => {
      const table = typeof data === 'object' && data !== null ? tableOf(data, isArray(columns) ? columns : null) : null
      write('info', table === null ? formatLog([data]) : drawTable(table))
    },
    group: (...values: unknown[]) => {
      if (values.length > 0) write('info', formatLog(values))
      if (indent.length < MAX_INDENT) indent += '  '
    },
    groupCollapsed: (): void => {},
    groupEnd: () => {
      indent = stringSlice(indent, 2)
    },
    count: (label: unknown = 'default') => {
      const name = labelOf(label)
      const count = (mapGet(counts, name) ?? 0) + 1
      mapSet(counts, name, count)
      write('info', `${name}: ${count}`)
    },
    countReset: (label: unknown = 'default') => {
      const name = labelOf(label)
      if (!mapDelete(counts, name)) write('warn', `Count for '${name}' does not exist`)
    },
    time: (label: unknown = 'default') => {
      const name = labelOf(label)
      if (mapGet(timers, name) !== undefined) return write('warn', `Label '${name}' already exists for console.time()`)
      mapSet(timers, name, now())
    },
    timeLog: (label: unknown = 'default', ...values: unknown[]) => time(labelOf(label), values, false),
    timeEnd: (label: unknown = 'default') => time(labelOf(label), [], true),
    timeStamp: () => {},
    clear: () => {},
  }
  methods.groupCollapsed = methods.group as () => void
  const console = objectCreate({}) as Console
  for (const name in methods) defineData(console, name, methods[name as keyof typeof methods], true)
  Object.defineProperty(console, Symbol.toStringTag, { value: 'console', configurable: true })
  return console
}

function labelOf(label: unknown): string {
  const text = typeof label === 'string' ? label : inspect(label, ONE_LEVEL)
  return text.length > 200 ? stringSlice(text, 0, 200) : text
}

function indentLines(text: string, indent: string): string {
  let result = indent
  let done = 0
  for (let i = stringIndexOf(text, '\n'); i >= 0; i = stringIndexOf(text, '\n', done)) {
    result += stringSlice(text, done, i + 1) + indent
    done = i + 1
  }
  return result + stringSlice(text, done)
}

function drawTable(table: Table): string {
  const widths: number[] = []
  const rows: string[][] = [table.head]
  for (let i = 0; i < table.rows.length; i++) arrayPush(rows, table.rows[i]!)
  for (let column = 0; column < table.head.length; column++) {
    let width = 0
    for (let i = 0; i < rows.length; i++) {
      const length = (rows[i]![column] ?? '').length
      if (length > width) width = length
    }
    arrayPush(widths, width)
  }
  let text = rule(widths, '┌┬┐')
  for (let i = 0; i < rows.length; i++) {
    text += '\n│'
    for (let column = 0; column < widths.length; column++)
      text += ' ' + stringPadEnd(rows[i]![column] ?? '', widths[column]!) + ' │'
    if (i === 0) text += '\n' + rule(widths, '├┼┤')
  }
  return text + '\n' + rule(widths, '└┴┘')
}

function rule(widths: number[], corners: string): string {
  let text = corners[0]!
  for (let i = 0; i < widths.length; i++) text += (i === 0 ? '' : corners[1]!) + stringRepeat('─', widths[i]! + 2)
  return text + corners[2]!
}
