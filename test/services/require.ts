/**
 * For node:test's `skip`: false where the service is there, else the reason, which the test's report shows. Under
 * SKEP_REQUIRE_SERVICES=1 (as in CI) an absent service fails the file: a suite that silently tests nothing passes for ever.
 */
export function skipUnless(missing: string | undefined): string | false {
  if (missing === undefined) return false
  if (process.env['SKEP_REQUIRE_SERVICES'] === '1') throw new Error(`SKEP_REQUIRE_SERVICES=1, but ${missing}`)
  return missing
}
