import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openapiText, readOpenapiFile } from './write-openapi.ts'

test('the checked-in OpenAPI document is the one that the code makes', async () => {
  assert.equal(await readOpenapiFile(), openapiText(), 'Run: node control-api/write-openapi.ts')
})

test('every endpoint but the probes asks for a token and describes its problems', () => {
  const { paths } = JSON.parse(openapiText()) as {
    paths: Record<string, Record<string, { security?: unknown[]; responses: object }>>
  }
  for (const [path, methods] of Object.entries(paths)) {
    for (const operation of Object.values(methods)) {
      assert.equal(operation.security === undefined, path.startsWith('/v1/'), path)
      assert.equal('default' in operation.responses, path.startsWith('/v1/'), path)
    }
  }
})
