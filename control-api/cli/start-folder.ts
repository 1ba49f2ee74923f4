/**
 * Where the command was typed. `npm run -s skep -- …` runs it in the package's folder and says in INIT_CWD where that was;
 * a script of another name that happens to call skep means the folder that it runs in.
 */
export function startFolder(): string {
  const typed = process.env['npm_lifecycle_event'] === 'skep' ? process.env['INIT_CWD'] : undefined
  return typed ?? process.cwd()
}
