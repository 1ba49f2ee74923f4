/** One turn of the event loop: everything the kernel had ready has been taken when it resolves. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/**
 * Resolves right after a turn so short that hardly anything can have come since its accepts. Closing a listening socket
 * resets the connections that wait in its queue (Linux moves them to its SO_REUSEPORT siblings only when
 * `net.ipv4.tcp_migrate_req` is 1), and under load an ordinary turn is long enough for several to arrive.
 */
export async function quietTurn(): Promise<void> {
  let bound = 0.03
  await turn()
  let before = performance.now()
  for (let turns = 1; ; turns++) {
    await turn()
    const now = performance.now()
    if (now - before < bound) return
    before = now
    if (turns % 64 === 0) bound *= 2
  }
}
