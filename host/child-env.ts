/**
 * What processes that hold isolates start with, unless the operator's environment says otherwise. glibc raises its bound for
 * giving memory back to the system with the first large block that is freed; bodies in flight would then stay in the
 * process for ever. A fixed bound returns them. Other C libraries ignore the name.
 *
 * Node looks names up on half of its pool's threads, and a slow name server holds one: with four, two tenants' look-ups
 * would stop those of all.
 */
export function childEnvironment(): Record<string, string> {
  return {
    MALLOC_MMAP_THRESHOLD_: process.env.MALLOC_MMAP_THRESHOLD_ ?? '131072',
    UV_THREADPOOL_SIZE: process.env.UV_THREADPOOL_SIZE ?? '16',
  }
}
