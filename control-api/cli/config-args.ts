import { describeSchema } from '../../host/checked-yaml.ts'
import { SETTINGS } from '../../host/load-config.ts'
import type { FlagDef } from './command.ts'

/** A flag for every setting of the host, beside `--config`. */
export const CONFIG_ARGS: { config: FlagDef & { type: 'string' } } & Record<string, FlagDef & { type: 'string' }> = {
  config: {
    type: 'string',
    description: 'The configuration file (default: skep.host.yaml, where there is one).',
    valueHint: 'file',
  },
  ...Object.fromEntries(
    SETTINGS.map(({ path, flag, variable, schema }) => {
      const description = `${path}: ${describeSchema(schema)} (${variable}).`
      return [flag, { type: 'string' as const, description, valueHint: path.split('.').at(-1)! }]
    }),
  ),
}

/** The flags that were given, by path, for `loadConfig`. */
export function settingFlags(args: Record<string, string | boolean | undefined>): Record<string, string> {
  const given = SETTINGS.flatMap(({ path, flag }) => (typeof args[flag] === 'string' ? [[path, args[flag]] as const] : []))
  return Object.fromEntries(given)
}
