import { loadConfig } from '../../host/load-config.ts'
import { CONFIG_ARGS, settingFlags } from './config-args.ts'
import { defineCommand } from './command.ts'
import { warn } from './output.ts'
import { startFolder } from './start-folder.ts'

export default defineCommand({
  name: 'serve',
  description: 'Runs a host: functions on one port, the control API on another.',
  example: 'skep serve --port 8080 --api-port 8081 --workers 4 --data .skep',
  args: CONFIG_ARGS,
  async run(args) {
    const load = () => loadConfig({ file: args.config, env: process.env, flags: settingFlags(args), cwd: startFolder() })
    const { config, origins, file, warnings } = await load()
    for (const warning of warnings) warn(warning)
    const { serve } = await import('../../host/supervisor.ts')
    await serve({
      config,
      origins,
      ...(file === undefined ? {} : { configFile: file }),
      reload: async () => (await load()).config,
    })
  },
})
