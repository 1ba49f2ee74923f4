/**
 * Which event the running code belongs to, for its log lines and outbound requests. Known while a handler, a timer or a
 * completion runs synchronously, and as long as only one event is live; after an `await` among several it is not (0), and
 * a wrong name would be worse than none.
 */
let running = 0
let live = 0
/** All live events, exclusive-ored: with one live, that one. */
let only = 0

export function currentEvent(): number {
  return running !== 0 ? running : live === 1 ? only : 0
}

export function eventBegan(event: number): void {
  live++
  only ^= event
}

export function eventEnded(event: number): void {
  live--
  only ^= event
}

export function runAs(event: number, work: () => void): void {
  const before = running
  running = event
  try {
    work()
  } finally {
    running = before
  }
}
