import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { parseProject } from '../control-api/project-file.ts'
import { DEFAULT_CEILINGS, DEFAULT_LIMITS, LIMIT_NAMES, LIMITS, VERSION_LIMIT_NAMES } from '../sandbox/limits.ts'
import type { LimitRule } from '../sandbox/limits.ts'
import { ceilingsOf, configSchema } from './config.ts'
import { DATA_CODES } from './answer.ts'
import { ERRORS } from './errors.ts'
import { checkCeilings, limitSchema, limitsOf, versionLimitsSchema } from './limit-schemas.ts'
import { loadConfig } from './load-config.ts'

const NONSENSE = [-1, -0.5, NaN, Infinity, -Infinity, 1e300, '50', '', null, true, [], {}, 10n]

suite('limits', () => {
  test('the table is sound: a default is within its range, a ceiling too, a code is one', () => {
    for (const name of LIMIT_NAMES) {
      const { default: fallback, min, max, ceiling, whole, code }: LimitRule = LIMITS[name]
      for (const value of [fallback, ceiling ?? fallback]) assert.ok(value >= min && value <= max, name)
      if (whole) assert.ok([fallback, min, max].every(Number.isInteger), name)
      assert.ok(code === undefined || code in ERRORS, name)
    }
    const rules: LimitRule[] = VERSION_LIMIT_NAMES.map((name) => LIMITS[name])
    const answered = rules.flatMap(({ code }) => (code === undefined ? [] : [code]))
    for (const code of answered) assert.ok(DATA_CODES.has(code), code)
    assert.deepEqual(VERSION_LIMIT_NAMES, ['cpuMs', 'wallMs', 'memoryMb', 'subrequests', 'concurrency'])
  })

  test('nonsense is refused for each of them, with the range', () => {
    for (const name of LIMIT_NAMES) {
      const { min, max, whole }: LimitRule = LIMITS[name]
      const schema = limitSchema(name)
      for (const value of [...NONSENSE, min - 1, max + 1, ...(whole ? [min + 0.5] : [])]) {
        const { error } = schema.safeParse(value)
        assert.match(error?.issues[0]?.message ?? '', new RegExp(`number from ${min} to ${max}`), `${name}: ${String(value)}`)
      }
      for (const value of [min, max, LIMITS[name].default]) assert.equal(schema.parse(value), value)
    }
  })

  test('at the doors of the configuration and of the project file', async () => {
    for (const text of ['-1', 'NaN', 'Infinity', '1e3', '0x10', '999999999', 'fast']) {
      const env = { SKEP_LIMITS_CPU_MS: text }
      const range = /must be a number from 1 to 600000/
      await assert.rejects(loadConfig({ env, cwd: '/nowhere' }), { code: 'invalid_config', message: range }, text)
      const flags = { 'ceilings.cpuMs': text }
      await assert.rejects(loadConfig({ env: {}, flags, cwd: '/nowhere' }), { code: 'invalid_config', message: range }, text)
    }
    for (const yaml of ['-1', '.nan', '.inf', '"50 "', '[]', '6e5000', '600001', 'null']) {
      const text = `functions:\n  a:\n    main: x.ts\n    limits: { cpuMs: ${yaml} }\n`
      const message = /^skep.yaml:4: functions.a.limits.cpuMs must be a number from 1 to 600000, not /
      assert.throws(() => parseProject(text, 'skep.yaml', {}), { code: 'invalid_config', message }, yaml)
    }
  })

  test('a version asks for some of them only, and for no more than its tenant may have', () => {
    assert.equal(versionLimitsSchema.safeParse({ startMs: 10 }).success, false)
    const config = configSchema.parse({
      ceilings: { cpuMs: 100 },
      tenants: { acme: { ceilings: { cpuMs: 500 } } },
    })
    assert.equal(ceilingsOf(config, 'acme').cpuMs, 500)
    assert.equal(ceilingsOf(config, 'other').cpuMs, 100)
    assert.equal(ceilingsOf(config, 'acme').memoryMb, DEFAULT_CEILINGS.memoryMb)
    checkCeilings({ cpuMs: 500 }, ceilingsOf(config, 'acme'))
    assert.throws(() => checkCeilings({ cpuMs: 101 }, ceilingsOf(config, 'other')), {
      code: 'invalid_request',
      message: 'limits.cpuMs may be 100 ms at most here, not 101.',
      details: { limit: 'cpuMs', allowed: 100 },
    })
  })

  test('what was deployed under a higher ceiling is held to the one of today', () => {
    const host = { ...DEFAULT_LIMITS, cpuMs: 80 }
    assert.equal(limitsOf(host, {}, { cpuMs: 60 }).cpuMs, 80)
    assert.equal(limitsOf(host, { cpuMs: 70 }, { cpuMs: 60 }).cpuMs, 60)
    assert.equal(limitsOf(host, { cpuMs: 70, wallMs: undefined }, {}).cpuMs, 70)
    assert.equal(limitsOf(host, { wallMs: undefined }, {}).wallMs, DEFAULT_LIMITS.wallMs)
  })
})
