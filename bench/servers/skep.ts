/** A whole host, as `skep serve` runs it: supervisor, workers, control API. */
import { serve } from '../../control-api/serve.ts'
import { configSchema } from '../../host/config.ts'
import { loadConfig } from '../../host/load-config.ts'

const given = JSON.parse(process.argv[2]!) as Record<string, string>
const { config } = await loadConfig({ flags: given, env: {}, cwd: given['data']! })
const served = await serve({ config: configSchema.parse(config) })
process.send!({ port: served.dataPort, apiPort: served.apiPort, token: served.token })
// The bench that it belongs to is gone: workers and cells end with this process.
process.on('disconnect', () => process.exit())
await served.closed
process.exit()
