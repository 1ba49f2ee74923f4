import { effectiveSettings, loadConfig } from '../../host/load-config.ts'
import { CONFIG_ARGS, settingFlags } from './config-args.ts'
import { defineCommand } from './command.ts'
import { printJson, printTable, warn } from './output.ts'
import { startFolder } from './start-folder.ts'

export default defineCommand({
  name: 'config',
  description: 'Prints the host’s effective configuration, with where each value comes from.',
  example: 'SKEP_PORT=9000 skep config --log-level debug',
  args: { ...CONFIG_ARGS, json: { type: 'boolean', description: 'Prints JSON, for scripts.' } },
  async run(args) {
    const loaded = await loadConfig({ file: args.config, env: process.env, flags: settingFlags(args), cwd: startFolder() })
    for (const warning of loaded.warnings) warn(warning)
    const settings = effectiveSettings(loaded)
    if (args.json) return printJson(settings)
    const rows = settings.map(({ path, value, from }) => [
      path,
      Array.isArray(value)
        ? value.map((one) => (typeof one === 'string' ? one : JSON.stringify(one))).join(',') || '-'
        : String(value ?? '-'),
      from,
    ])
    printTable(['SETTING', 'VALUE', 'FROM'], rows, '')
  },
})
