import { loadConfig } from '../../host/load-config.ts'
import { CONFIG_ARGS, settingFlags } from './config-args.ts'
import { defineCommand } from './command.ts'
import { print, warn } from './output.ts'
import { startFolder } from './start-folder.ts'

export default defineCommand({
  name: 'serve',
  description: 'Runs a host: functions on one port, the control API on another.',
  example: 'skep serve --port 8080 --api-port 8081 --workers 4 --data .skep',
  args: CONFIG_ARGS,
  async run(args) {
    const load = () => loadConfig({ file: args.config, env: process.env, flags: settingFlags(args), cwd: startFolder() })
    const { config, warnings } = await load()
    for (const warning of warnings) warn(warning)
    const { serve } = await import('../serve.ts')
    const served = await serve({ config, reload: async () => (await load()).config })
    if (served.token !== undefined) print(`Admin token, shown this once: ${served.token}`)
    print(`Functions: http://127.0.0.1:${served.dataPort} (by hostname)   Control API: http://127.0.0.1:${served.apiPort}`)
    if (served.tlsPort !== undefined) print(`Functions over TLS: https://127.0.0.1:${served.tlsPort}`)
    await served.closed
  },
})
