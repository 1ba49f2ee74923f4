/**
 * Loads uWebSockets.js. Its binaries come from a republisher on npm, so only files that were looked at (by SHA-256) are
 * loaded at all. On glibc 2.36 and 2.37 a patched copy is made in the user's cache folder: see `_elf.ts`.
 */
import { createHash, randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import { createRequire } from 'node:module'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { withoutGlibc238 } from './_elf.ts'
import { MAX_HEADER_BYTES } from './_limits.ts'
import type { Uws } from './_uws-api.ts'

interface KnownFile {
  sha256: string
  patch?: { base: 'GLIBC_2.2.5' | 'GLIBC_2.17'; sha256: string }
}

/** `@btc-vision/uwebsockets.js` 20.57.0, for Node 24 (ABI 137). */
const KNOWN: Record<string, KnownFile> = {
  'uws_linux_x64_137.node': {
    sha256: '98128405dba2fb608448e921a979530f70c946a2cc9889c15f2fa70c2d00ab05',
    patch: { base: 'GLIBC_2.2.5', sha256: '2630bb59236deeadf501d6abaf79c1a655b4a0b78579fba408eea84d1a30f6ca' },
  },
  'uws_linux_arm64_137.node': {
    sha256: '88618b30ddf6b2b62310db89f40a701616676352aac5e0f6184dd8ef876199ce',
    patch: { base: 'GLIBC_2.17', sha256: '50691cb2ed74d2e1711806a07a3f3c6419db5fd63d776c171912f9c097fd270a' },
  },
  'uws_darwin_arm64_137.node': { sha256: '2187391c702fa7ad3bf685eff7712c15cf24fa7cf324a131dfcbae3fd0f20a9a' },
  'uws_darwin_x64_137.node': { sha256: '98fd7e9456e2d37d3262b05b053d673830927f91c63c0c2ae73bde8d19eef293' },
  'uws_win32_x64_137.node': { sha256: '84ae72d2149e6ffa2a44063344073599027b1ce8bffaab3957903f966b0c6bb9' },
}

export interface UwsLoadOptions {
  /** Whether a patched copy may be made and loaded. Default: true, unless `SKEP_UWS_PATCH=off`. */
  patch?: boolean
  /** Where patched copies lie. Default: `$XDG_CACHE_HOME/skep` or `~/.cache/skep`. */
  cacheDir?: string
  /** The folder of the package's binaries. Default: where Node finds the package. */
  packageDir?: string
  /** The file's name. Default: the one for this platform and Node. */
  file?: string
}

export type UwsLoad = { uws: Uws; patched: boolean; path: string } | { uws: undefined; reason: string }

let loaded: UwsLoad | undefined

/** Never throws: without a binary that can be trusted and loaded there is a reason, and node:http serves. */
export function loadUws(options: UwsLoadOptions = {}): UwsLoad {
  if (Object.keys(options).length > 0) return load(options)
  return (loaded ??= load(options))
}

function load(options: UwsLoadOptions): UwsLoad {
  try {
    return tryLoad(options)
  } catch (error) {
    return { uws: undefined, reason: (error as Error).message }
  }
}

function tryLoad(options: UwsLoadOptions): UwsLoad {
  const file = options.file ?? `uws_${process.platform}_${process.arch}_${process.versions.modules}.node`
  const known = KNOWN[file]
  if (known === undefined) {
    const { version, platform, arch } = process
    return { uws: undefined, reason: `there is no vetted uWebSockets.js binary for Node ${version} on ${platform} ${arch}` }
  }
  const path = join(options.packageDir ?? packageDir(), file)
  const bytes = fs.readFileSync(path)
  const sum = sha256(bytes)
  if (sum !== known.sha256) {
    return { uws: undefined, reason: `${path} is not the file that was vetted (SHA-256 ${sum}); reinstall the dependencies` }
  }
  try {
    return { uws: open(path), patched: false, path }
  } catch (error) {
    const message = (error as Error).message
    const allowed = options.patch ?? process.env['SKEP_UWS_PATCH'] !== 'off'
    if (known.patch === undefined || !message.includes("GLIBC_2.38' not found")) throw error
    const glibc = glibcVersion()
    if (glibc === undefined || glibc < 36) {
      return { uws: undefined, reason: `uWebSockets.js needs glibc 2.36, this machine has 2.${glibc ?? '?'}` }
    }
    if (!allowed) {
      return { uws: undefined, reason: `uWebSockets.js needs glibc 2.38, this machine has 2.${glibc}, and SKEP_UWS_PATCH is off` }
    }
    const patched = patchedCopy(bytes, known.patch, options.cacheDir ?? defaultCacheDir(), file)
    return { uws: open(patched), patched: true, path: patched }
  }
}

function packageDir(): string {
  return dirname(createRequire(import.meta.url).resolve('uwebsockets.js'))
}

function open(path: string): Uws {
  // uWebSockets reads its header limit from the environment, once, when the library is mapped.
  const name = 'UWS_HTTP_MAX_HEADERS_SIZE'
  const before = process.env[name]
  process.env[name] = String(MAX_HEADER_BYTES)
  try {
    const uws = createRequire(import.meta.url)(path) as Uws
    uws._cfg('999999990007') // No `uWebSockets: 20` header on answers.
    return uws
  } finally {
    if (before === undefined) delete process.env[name]
    else process.env[name] = before
  }
}

/** The minor version: 36 for glibc 2.36. Undefined on other libcs. */
function glibcVersion(): number | undefined {
  const report = process.report.getReport() as { header?: { glibcVersionRuntime?: string } }
  const match = /^2\.(\d+)/.exec(report.header?.glibcVersionRuntime ?? '')
  return match ? Number(match[1]) : undefined
}

function defaultCacheDir(): string {
  const base = process.env['XDG_CACHE_HOME']
  return join(base?.startsWith('/') ? base : join(homedir(), '.cache'), 'skep')
}

function patchedCopy(source: Buffer, patch: NonNullable<KnownFile['patch']>, cacheDir: string, file: string): string {
  ownFolder(cacheDir)
  const path = join(cacheDir, `${file.replace(/\.node$/, '')}-${patch.sha256.slice(0, 16)}.node`)
  if (fileSha256(path) === patch.sha256) return path
  const bytes = withoutGlibc238(source, patch.base)
  const sum = sha256(bytes)
  if (sum !== patch.sha256) throw new Error(`the patched uWebSockets.js is not as expected (SHA-256 ${sum})`)
  // Several workers may do this at once, and one may die while it does: the name appears only with the whole file.
  const temporary = `${path}.${process.pid}.${randomBytes(4).toString('hex')}`
  try {
    const fd = fs.openSync(temporary, 'wx', 0o600)
    try {
      fs.writeSync(fd, bytes)
      fs.fsyncSync(fd)
    } finally {
      fs.closeSync(fd)
    }
    if (fileSha256(temporary) !== patch.sha256) throw new Error(`${temporary} was not written whole`)
    fs.renameSync(temporary, path)
  } finally {
    fs.rmSync(temporary, { force: true })
  }
  return path
}

/** Whoever can write in this folder can run code as us: nobody else may. */
function ownFolder(folder: string): void {
  fs.mkdirSync(folder, { recursive: true, mode: 0o700 })
  const uid = process.getuid!()
  const stat = fs.lstatSync(folder)
  if (!stat.isDirectory()) throw new Error(`${folder} is not a folder`)
  if (stat.uid !== uid) throw new Error(`${folder} belongs to another user`)
  if ((stat.mode & 0o022) !== 0) throw new Error(`${folder} can be written by others; chmod 700 it`)
  const parent = fs.statSync(dirname(fs.realpathSync(folder)))
  const sticky = (parent.mode & 0o1000) !== 0
  if ((parent.uid !== uid && parent.uid !== 0) || ((parent.mode & 0o022) !== 0 && !sticky)) {
    throw new Error(`${dirname(folder)} can be changed by others`)
  }
}

function fileSha256(path: string): string | undefined {
  try {
    if (!fs.lstatSync(path).isFile()) return undefined
    return sha256(fs.readFileSync(path))
  } catch {
    return undefined
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
