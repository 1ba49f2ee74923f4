import { arrayPush, hasOwn, mapForEach, objectGetOwnPropertyDescriptor, objectKeys, setForEach } from './primordials.ts'
import { kindOf } from './brand.ts'
import { type InspectOptions, inspect } from './inspect.ts'

const MAX_ROWS = 200
const MAX_COLUMNS = 30
const CELL: InspectOptions = { depth: 0, size: 100 }

export interface Table {
  head: string[]
  rows: string[][]
}

/** What `console.table` shows: a row for each entry, a column for each property that an entry has. Getters are not called. */
export function tableOf(data: object, columns: unknown[] | null): Table | null {
  try {
    return build(data, columns)
  } catch {
    // A proxy's trap threw.
    return null
  }
}

function build(data: object, columns: unknown[] | null): Table {
  const head = ['(index)']
  if (columns !== null) for (let i = 0; i < columns.length && i < MAX_COLUMNS; i++) arrayPush(head, `${columns[i] as string}`)
  const rows: string[][] = []
  let values = false
  const add = (index: string, value: unknown): void => {
    if (rows.length >= MAX_ROWS) return
    // Slot 1 is for the value of an entry that is no object; properties begin at slot 2.
    const row = [index]
    arrayPush(rows, row)
    if (typeof value !== 'object' || value === null) {
      values = true
      row[1] = inspect(value, CELL)
      return
    }
    const keys = objectKeys(value)
    for (let i = 0; i < keys.length; i++) {
      const column = columnOf(head, keys[i]!, columns === null)
      if (column > 0) row[column + 1] = cell(value, keys[i]!)
    }
  }
  const kind = kindOf(data)
  let count = 0
  if (kind === 'Map') mapForEach(data as Map<unknown, unknown>, (value, key) => add(inspect(key, CELL), value))
  else if (kind === 'Set') setForEach(data as Set<unknown>, (value) => add(`${count++}`, value))
  else {
    const keys = objectKeys(data)
    for (let i = 0; i < keys.length && i < MAX_ROWS; i++) {
      const descriptor = objectGetOwnPropertyDescriptor(data, keys[i]!)
      add(keys[i]!, descriptor !== undefined && hasOwn(descriptor, 'value') ? descriptor.value : undefined)
    }
  }
  return layOut(head, rows, values)
}

function layOut(head: string[], rows: string[][], values: boolean): Table {
  if (values) arrayPush(head, 'Values')
  const result: string[][] = []
  for (let i = 0; i < rows.length; i++) {
    const from = rows[i]!
    const row = [from[0]!]
    const properties = values ? head.length - 1 : head.length
    for (let column = 1; column < properties; column++) arrayPush(row, from[column + 1] ?? '')
    if (values) arrayPush(row, from[1] ?? '')
    arrayPush(result, row)
  }
  return { head, rows: result }
}

function columnOf(head: string[], key: string, adds: boolean): number {
  for (let i = 1; i < head.length; i++) if (head[i] === key) return i
  if (!adds || head.length > MAX_COLUMNS) return -1
  return arrayPush(head, key) - 1
}

function cell(row: object, key: string): string {
  const descriptor = objectGetOwnPropertyDescriptor(row, key)
  if (descriptor === undefined) return ''
  return hasOwn(descriptor, 'value') ? inspect(descriptor.value, CELL) : '[Getter]'
}
