/** Certificates and their keys: read, checked with a clear word where one cannot be used, and found by server name. */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import type { SecureContext, SecureContextOptions } from 'node:tls'
import { SkepError } from '../errors.ts'

export interface CertificateFiles {
  /** PEM: the certificate, then those that lead from it to its authority. */
  cert: string
  /** PEM, without a passphrase. */
  key: string
}

/** Plain data: the supervisor hands it to its workers. */
export interface Credential {
  cert: string
  key: string
  /** Host names of the certificate's SAN, in lower case, `*.example.com` among them. */
  names: string[]
  /** The certificate's file. */
  file: string
  /** Milliseconds since 1970. */
  expires: number
}

export type TlsVersion = '1.2' | '1.3'

/** Rejects with `invalid_config`, naming the file and what to do. */
export async function readCertificates(files: CertificateFiles[], now = Date.now()): Promise<Credential[]> {
  const credentials = await Promise.all(files.map((pair) => readPair(pair, now)))
  for (const [index, { names, file }] of credentials.entries()) {
    if (index > 0 && names.length === 0) {
      throw invalid(file, 'names no host in its subjectAltName, so no client would ever get it. Only the first may lack names')
    }
  }
  return credentials
}

async function readPair({ cert: certFile, key: keyFile }: CertificateFiles, now: number): Promise<Credential> {
  const [cert, key] = await Promise.all([readPem(certFile, 'certificate'), readPem(keyFile, 'key')])
  let x509: X509Certificate
  try {
    x509 = new X509Certificate(cert)
  } catch (cause) {
    throw invalid(certFile, 'is no certificate in PEM (`-----BEGIN CERTIFICATE-----`)', cause)
  }
  const dates = { from: x509.validFromDate.getTime(), to: x509.validToDate.getTime() }
  if (now > dates.to) throw invalid(certFile, `expired on ${x509.validTo}. Renew it`)
  if (now < dates.from) throw invalid(certFile, `is valid only from ${x509.validFrom}. Check this machine's clock`)
  const privateKey = readKey(keyFile, key)
  if (!x509.checkPrivateKey(privateKey)) throw invalid(keyFile, `is not the key of the certificate ${certFile}`)
  try {
    createSecureContext({ cert, key })
  } catch (cause) {
    throw invalid(certFile, `cannot be used with its key ${keyFile}: ${(cause as Error).message}`, cause)
  }
  return { cert, key, names: namesOf(x509), file: certFile, expires: dates.to }
}

async function readPem(file: string, what: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    const why = code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`
    throw invalid(file, `${why}. tls.certificates names it as a ${what}`, cause)
  }
}

function readKey(file: string, text: string) {
  try {
    return createPrivateKey(text)
  } catch (cause) {
    if (/ENCRYPTED/.test(text)) {
      throw invalid(
        file,
        `has a passphrase, which nobody is there to type. Take it off: openssl pkey -in ${file} -out FILE`,
        cause,
      )
    }
    throw invalid(file, 'is no private key in PEM (`-----BEGIN PRIVATE KEY-----`)', cause)
  }
}

function invalid(file: string, what: string, cause?: unknown): SkepError {
  return new SkepError('invalid_config', `${file} ${what}.`, { cause, details: { file } })
}

const DNS_NAME = /^DNS:((?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)$/i

function namesOf(x509: X509Certificate): string[] {
  const entries = (x509.subjectAltName ?? '').split(', ')
  return entries.flatMap((entry) => DNS_NAME.exec(entry)?.[1]?.toLowerCase() ?? [])
}

/** TLS 1.2 with forward secrecy and authenticated encryption only; all of TLS 1.3. */
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':')

/** By server name: the exact name, then the wildcard one label up, then the first certificate. */
export class Contexts {
  readonly #minVersion: TlsVersion
  #options!: SecureContextOptions
  #fallback!: SecureContext
  #byName!: Map<string, SecureContext>

  constructor(credentials: Credential[], minVersion: TlsVersion) {
    this.#minVersion = minVersion
    this.renew(credentials)
  }

  /** What a client that names no server gets. */
  get fallbackOptions(): SecureContextOptions {
    return this.#options
  }

  /** All or nothing. */
  renew(credentials: Credential[]): void {
    const options = credentials.map((credential) => this.#optionsOf(credential))
    if (options.length === 0) throw new SkepError('invalid_config', 'TLS needs a certificate: set tls.certificates.')
    const contexts = options.map((each) => createSecureContext(each))
    const byName = new Map<string, SecureContext>()
    for (const [index, { names }] of credentials.entries()) {
      for (const name of names) if (!byName.has(name)) byName.set(name, contexts[index]!)
    }
    this.#options = options[0]!
    this.#fallback = contexts[0]!
    this.#byName = byName
  }

  find(serverName: string): SecureContext {
    const name = serverName.toLowerCase().replace(/\.$/, '')
    return this.#byName.get(name) ?? this.#byName.get(name.replace(/^[^.]*/, '*')) ?? this.#fallback
  }

  #optionsOf({ cert, key }: Credential): SecureContextOptions {
    return { cert, key, ciphers: CIPHERS, honorCipherOrder: true, minVersion: `TLSv${this.#minVersion}` }
  }
}
