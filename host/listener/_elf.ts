/**
 * Makes a shared object that was built against glibc 2.38 loadable on glibc 2.36 and 2.37, when all it wants of 2.38 is
 * the C23 spelling of functions that are as old as libc: `__isoc23_strtol` is `strtol` that also reads `0b101`. Nothing
 * but names and versions of imported symbols changes; no code does.
 */
const SHT_DYNSYM = 11
const SHT_GNU_VERNEED = 0x6ffffffe
const SHT_GNU_VERSYM = 0x6fffffff

const PREFIX = '__isoc23_'
const TOO_NEW = 'GLIBC_2.38'

interface Section {
  type: number
  offset: number
  size: number
  link: number
}

/** A patched copy. Throws when the file is not what is expected: then it is not ours to touch. */
export function withoutGlibc238(source: Uint8Array, baseVersion: 'GLIBC_2.2.5' | 'GLIBC_2.17'): Buffer {
  const elf = Buffer.from(source)
  if (elf.readUInt32BE(0) !== 0x7f454c46 || elf[4] !== 2 || elf[5] !== 1) throw new Error('not a 64-bit ELF file')
  const sections = readSections(elf)
  const dynsym = only(sections, SHT_DYNSYM)
  const versym = only(sections, SHT_GNU_VERSYM)
  const verneed = only(sections, SHT_GNU_VERNEED)
  const strings = sections[dynsym.link]!
  const name = (at: number): string => {
    const start = strings.offset + at
    return elf.toString('latin1', start, elf.indexOf(0, start))
  }

  const [old, tooNew] = libcRequirements(elf, verneed, name, [baseVersion, TOO_NEW])
  const oldIndex = elf.readUInt16LE(old + 6)
  const tooNewIndex = elf.readUInt16LE(tooNew + 6)

  for (let symbol = 0; symbol < dynsym.size / 24; symbol++) {
    const at = dynsym.offset + symbol * 24
    const version = versym.offset + symbol * 2
    if (elf.readUInt16LE(version) !== tooNewIndex) continue
    const nameAt = elf.readUInt32LE(at)
    if (!name(nameAt).startsWith(PREFIX)) throw new Error(`${name(nameAt)} of ${TOO_NEW} has no older spelling`)
    elf.writeUInt32LE(nameAt + PREFIX.length, at)
    elf.writeUInt16LE(oldIndex, version)
  }
  // The requirement itself cannot be taken out of its linked list cheaply: it asks for the old version a second time.
  elf.copy(elf, tooNew, old, old + 4) // vna_hash
  elf.copy(elf, tooNew + 8, old + 8, old + 12) // vna_name
  return elf
}

function readSections(elf: Buffer): Section[] {
  const table = Number(elf.readBigUInt64LE(40))
  const entry = elf.readUInt16LE(58)
  const sections: Section[] = []
  for (let i = 0; i < elf.readUInt16LE(60); i++) {
    const at = table + i * entry
    sections.push({
      type: elf.readUInt32LE(at + 4),
      offset: Number(elf.readBigUInt64LE(at + 24)),
      size: Number(elf.readBigUInt64LE(at + 32)),
      link: elf.readUInt32LE(at + 40),
    })
  }
  return sections
}

function only(sections: Section[], type: number): Section {
  const found = sections.filter((section) => section.type === type)
  if (found.length !== 1) throw new Error(`${found.length} sections of type ${type}`)
  return found[0]!
}

/** Where the requirement records of these versions of libc are, in the order asked for. */
function libcRequirements(
  elf: Buffer,
  verneed: Section,
  name: (at: number) => string,
  versions: [string, string],
): [number, number] {
  for (let file = verneed.offset; ; file += elf.readUInt32LE(file + 12)) {
    if (name(elf.readUInt32LE(file + 4)) === 'libc.so.6') {
      const found = new Map<string, number>()
      let record = file + elf.readUInt32LE(file + 8)
      for (let i = 0; i < elf.readUInt16LE(file + 2); i++) {
        found.set(name(elf.readUInt32LE(record + 8)), record)
        record += elf.readUInt32LE(record + 12)
      }
      const [first, second] = versions.map((version) => found.get(version))
      if (first === undefined || second === undefined) throw new Error('libc requirements are not as expected')
      return [first, second]
    }
    if (elf.readUInt32LE(file + 12) === 0) throw new Error('libc.so.6 is not required')
  }
}
