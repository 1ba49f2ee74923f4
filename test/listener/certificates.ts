/** Certificates for tests, made by openssl. They are of a machine's own making and of no use to anybody. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Credential } from '../../host/listener/certificates.ts'
import { readCertificates } from '../../host/listener/certificates.ts'

/** Why TLS cannot be tested here, or false. */
export const NO_OPENSSL = whyNot()

function whyNot(): string | false {
  try {
    execFileSync('openssl', ['version'])
    return false
  } catch {
    if (process.env['SKEP_REQUIRE_SERVICES'] === '1') throw new Error('the tests of TLS need openssl: apt-get install openssl')
    return 'there is no openssl to make certificates with'
  }
}

/** A folder of certificates; `remove` it. */
export class CertificateFolder {
  readonly path = mkdtempSync(join(tmpdir(), 'skep-tls-'))

  remove(): void {
    rmSync(this.path, { recursive: true, force: true })
  }

  file(name: string): string {
    return join(this.path, name)
  }

  /** `NAME.crt` and `NAME.key`, for these hosts. */
  make(name: string, hosts: string[], options: { rsa?: boolean; days?: number } = {}): { cert: string; key: string } {
    const files = { cert: this.file(`${name}.crt`), key: this.file(`${name}.key`) }
    const algorithm = options.rsa ? ['rsa:2048'] : ['ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1']
    const names = hosts.length === 0 ? [] : ['-addext', `subjectAltName=${hosts.map((host) => `DNS:${host}`).join(',')}`]
    this.openssl(
      ...['req', '-x509', '-nodes', '-newkey', ...algorithm, '-subj', `/CN=${name}`, '-days', String(options.days ?? 30)],
      ...['-keyout', files.key, '-out', files.cert, ...names],
    )
    return files
  }

  openssl(...args: string[]): string {
    return execFileSync('openssl', args, { cwd: this.path, stdio: ['ignore', 'pipe', 'ignore'], encoding: 'utf8' })
  }

  text(name: string): string {
    return readFileSync(this.file(name), 'utf8')
  }
}

let shared: Promise<Credential[]> | undefined

/** One certificate for whoever does not care which. */
export function anyCredentials(): Promise<Credential[]> {
  return (shared ??= makeAny())
}

async function makeAny(): Promise<Credential[]> {
  const folder = new CertificateFolder()
  try {
    return await readCertificates([folder.make('any', ['a.test', '*.a.test'])])
  } finally {
    folder.remove()
  }
}
