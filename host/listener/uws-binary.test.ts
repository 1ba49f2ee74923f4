import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { withoutGlibc238 } from './_elf.ts'
import { loadUws } from './uws-binary.ts'

const packageDir = dirname(createRequire(import.meta.url).resolve('uwebsockets.js'))
const file = `uws_${process.platform}_${process.arch}_${process.versions.modules}.node`
const first = loadUws()
const needsPatch = first.uws !== undefined && first.patched
const unless = { skip: needsPatch ? false : 'the binary loads as it is, or not at all, on this machine' }

let folder: string
beforeEach(() => {
  folder = fs.mkdtempSync(join(tmpdir(), 'skep-uws-'))
})
afterEach(() => fs.rmSync(folder, { recursive: true }))

function reason(options: Parameters<typeof loadUws>[0]): string {
  const load = loadUws(options)
  assert.equal(load.uws, undefined)
  return load.uws === undefined ? load.reason : ''
}

test('a file that is not known, or was changed, is not loaded', () => {
  assert.match(reason({ file: 'uws_linux_x64_999.node' }), /no vetted/)
  const bytes = fs.readFileSync(join(packageDir, 'uws_linux_x64_137.node'))
  bytes[bytes.length - 1]! ^= 1
  fs.writeFileSync(join(folder, 'uws_linux_x64_137.node'), bytes)
  assert.match(reason({ packageDir: folder, file: 'uws_linux_x64_137.node' }), /not the file that was vetted/)
  assert.match(reason({ packageDir: join(folder, 'missing') }), /ENOENT|no vetted/)
})

test('only names and versions of the three symbols change', () => {
  for (const [arch, base, most] of [
    ['x64', 'GLIBC_2.2.5', 16],
    ['arm64', 'GLIBC_2.17', 16],
  ] as const) {
    const before = fs.readFileSync(join(packageDir, `uws_linux_${arch}_137.node`))
    const after = withoutGlibc238(before, base)
    let changed = 0
    for (let i = 0; i < before.length; i++) if (before[i] !== after[i]) changed++
    assert.ok(changed > 0 && changed <= most, `${changed} bytes`)
  }
  assert.throws(() => withoutGlibc238(Buffer.from('no ELF file at all'), 'GLIBC_2.17'))
})

test('a patched copy is made once, private, and made again when it was changed', unless, () => {
  const cacheDir = join(folder, 'cache')
  const load = loadUws({ cacheDir })
  assert.ok(load.uws !== undefined && load.patched)
  assert.equal(fs.statSync(cacheDir).mode & 0o777, 0o700)
  assert.equal(fs.statSync(load.path).mode & 0o777, 0o600)
  assert.equal(fs.readdirSync(cacheDir).length, 1)
  const inode = fs.statSync(load.path).ino
  loadUws({ cacheDir })
  assert.equal(fs.statSync(load.path).ino, inode)
  const good = fs.readFileSync(load.path)
  fs.rmSync(load.path)
  fs.writeFileSync(load.path, 'not a library')
  assert.ok(loadUws({ cacheDir }).uws !== undefined)
  assert.ok(fs.readFileSync(load.path).equals(good))
})

test('a cache folder that others can write in is refused, and the patch can be off', unless, () => {
  fs.chmodSync(folder, 0o777)
  assert.match(reason({ cacheDir: folder }), /written by others/)
  fs.chmodSync(folder, 0o700)
  fs.symlinkSync(folder, join(folder, 'link'))
  assert.match(reason({ cacheDir: join(folder, 'link') }), /not a folder|EEXIST/)
  assert.match(reason({ cacheDir: folder, patch: false }), /SKEP_UWS_PATCH is off/)
  assert.ok(fs.existsSync(join(packageDir, file)))
})
