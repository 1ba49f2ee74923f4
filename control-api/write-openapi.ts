import { readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { pino } from 'pino'
import { Registry } from '../host/registry.ts'
import { DEFAULT_LIMITS } from '../sandbox/limits.ts'
import { createApi } from './app.ts'
import type { Store } from '../host/store/store.ts'

/** The checked-in document. `node control-api/write-openapi.ts` writes it anew after a change of the API. */
export const OPENAPI_FILE = fileURLToPath(new URL('openapi.json', import.meta.url))

export function openapiText(): string {
  const unused = (): never => {
    throw new Error('The document is made without a host.')
  }
  const store: Store = { description: 'none', get: unused, put: unused, delete: unused, list: unused, close: unused }
  const api = createApi({
    registry: new Registry(store),
    store,
    check: unused,
    conduct: { records: unused, recordsOf: unused, release: unused },
    invoke: unused,
    log: pino({ enabled: false }),
    status: unused,
    metrics: unused,
    usage: unused,
    ready: unused,
    limits: DEFAULT_LIMITS,
  })
  return `${JSON.stringify(api.openapi(), null, 2)}\n`
}

export async function readOpenapiFile(): Promise<string> {
  return readFile(OPENAPI_FILE, 'utf8')
}

if (import.meta.main) await writeFile(OPENAPI_FILE, openapiText())
