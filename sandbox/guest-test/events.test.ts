import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AbortController, AbortSignal, addAbortAlgorithm, createSignal, setAbortTimer, signalAbort } from '../guest/abort.ts'
import { DOMException } from '../guest/dom-exception.ts'
import { Event, EventTarget, setReporter } from '../guest/event-target.ts'

test('listeners: order, once, capture first, handleEvent, removal during a dispatch, a signal', () => {
  const target = new EventTarget()
  const seen: string[] = []
  const late = (): void => void seen.push('late')
  target.addEventListener('x', () => {
    seen.push('first')
    target.removeEventListener('x', late)
  })
  target.addEventListener('x', { handleEvent: () => seen.push('object') }, { once: true })
  target.addEventListener('x', late)
  target.addEventListener('x', () => seen.push('capture'), true)
  const controller = new AbortController()
  target.addEventListener('x', () => seen.push('signal'), { signal: controller.signal })
  target.dispatchEvent(new Event('x'))
  controller.abort()
  target.dispatchEvent(new Event('x'))
  assert.deepEqual(seen, ['capture', 'first', 'object', 'signal', 'capture', 'first'])
})

test('what a listener throws is reported, and the next one runs', () => {
  const reported: unknown[] = []
  setReporter((error) => reported.push(error))
  const target = new EventTarget()
  let ran = false
  target.addEventListener('x', () => {
    throw 1
  })
  target.addEventListener('x', {} as never)
  target.addEventListener('x', () => (ran = true))
  target.dispatchEvent(new Event('x'))
  assert.equal(reported[0], 1)
  assert.ok(reported[1] instanceof TypeError && ran)
})

test('preventDefault counts only for cancelable events and outside passive listeners', () => {
  const target = new EventTarget()
  const event = new Event('x', { cancelable: true })
  target.addEventListener('x', (given) => given.preventDefault(), { passive: true })
  assert.equal(target.dispatchEvent(event), true)
  target.addEventListener('x', (given) => given.preventDefault())
  assert.equal(target.dispatchEvent(new Event('x', { cancelable: true })), false)
  assert.equal(target.dispatchEvent(new Event('x')), true)
})

test('an event in dispatch is not dispatched again', () => {
  const target = new EventTarget()
  const event = new Event('x')
  let name = ''
  target.addEventListener('x', () => {
    try {
      target.dispatchEvent(event)
    } catch (error) {
      name = (error as DOMException).name
    }
  })
  target.dispatchEvent(event)
  assert.equal(name, 'InvalidStateError')
})

test('a signal aborts once: algorithms, listeners, then dependent signals', () => {
  const signal = createSignal()
  const dependent = AbortSignal.any([signal, createSignal()])
  const seen: string[] = []
  signal.addEventListener('abort', (event) => seen.push(`listener ${event.isTrusted}`))
  dependent.onabort = () => seen.push('dependent')
  addAbortAlgorithm(signal, () => seen.push('algorithm'))
  signalAbort(signal, 'why')
  signalAbort(signal, 'again')
  assert.deepEqual(seen, ['algorithm', 'listener true', 'dependent'])
  assert.equal(dependent.reason, 'why')
  assert.equal(AbortSignal.any([signal]).aborted, true)
  assert.throws(() => new AbortSignal(), TypeError)
})

test('a timeout uses the timer that was given', () => {
  let due = (): void => {}
  setAbortTimer((run, delay) => {
    assert.equal(delay, 50)
    due = run
  })
  const signal = AbortSignal.timeout(50)
  assert.equal(signal.aborted, false)
  due()
  assert.equal((signal.reason as DOMException).name, 'TimeoutError')
})

test('a DOMException is an error with a code and a stack', () => {
  const error = new DOMException('gone', 'NotFoundError')
  assert.ok(error instanceof Error)
  assert.equal(error.code, 8)
  assert.equal(Reflect.get(DOMException, 'NOT_FOUND_ERR'), 8)
  assert.match((error as unknown as Error).stack!, /^NotFoundError: gone\n/)
  assert.throws(() => Reflect.get(DOMException.prototype, 'message'), TypeError)
})
