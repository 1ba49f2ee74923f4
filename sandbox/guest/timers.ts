import { reflectApply, mathTrunc, objectCreate } from './primordials.ts'
import { currentEvent, runAs } from './current.ts'
import { DOMException } from './dom-exception.ts'
import { post } from './outbox.ts'
import { Emit } from '../protocol.ts'
import { reportException } from './report.ts'
import { requireArguments } from './webidl.ts'

/** Timers are the host's: it is told of each, and enters the isolate when one is due. */
interface Timer {
  callback: (...values: unknown[]) => void
  values: unknown[]
  /** ms; -1 for a timer that fires once. */
  interval: number
  event: number
}

/** Each of them takes memory of the host as well. */
let most = 0

export function setTimerLimit(timers: number): void {
  most = timers
}

const timers = objectCreate(null) as { [id: number]: Timer }
let lastId = 0
let count = 0

/** Host timers end at about 24.8 days; a longer delay is as good as never, and is cut. */
const LONGEST = 2_147_483_647

function start(callback: unknown, delay: unknown, values: unknown[], repeats: boolean): number {
  if (typeof callback !== 'function') throw new TypeError('A timer needs a function: code in strings is not run')
  let ms = mathTrunc(+(delay as number))
  if (!(ms > 0)) ms = 0
  if (ms > LONGEST) ms = LONGEST
  if (count >= most) throw new DOMException(`There are ${most} timers already`, 'QuotaExceededError')
  count++
  const id = ++lastId
  timers[id] = { callback: callback as Timer['callback'], values, interval: repeats ? ms : -1, event: currentEvent() }
  post(Emit.timer, id, ms)
  return id
}

export function setTimeout(callback: unknown, delay: unknown = 0, ...values: unknown[]): number {
  requireArguments(arguments.length, 1, 'setTimeout')
  return start(callback, delay, values, false)
}

export function setInterval(callback: unknown, delay: unknown = 0, ...values: unknown[]): number {
  requireArguments(arguments.length, 1, 'setInterval')
  return start(callback, delay, values, true)
}

export function clearTimeout(id?: number): void {
  const key = +(id as number)
  if (timers[key] === undefined) return
  forget(key)
  post(Emit.timerCancel, key)
}

function forget(id: number): void {
  delete timers[id]
  count--
}

/** The host says that this timer is due. */
export function fireTimer(id: number): void {
  const timer = timers[id]
  if (timer === undefined) return
  if (timer.interval < 0) forget(id)
  else post(Emit.timer, id, timer.interval)
  runAs(timer.event, () => {
    try {
      reflectApply(timer.callback, globalThis, timer.values)
    } catch (error) {
      reportException(error)
    }
  })
}
