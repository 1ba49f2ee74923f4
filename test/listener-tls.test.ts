/** Certificates, versions, protocols; and certificates that are renewed while connections are open. */
import assert from 'node:assert/strict'
import { copyFileSync, existsSync, mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { connect, type ConnectionOptions } from 'node:tls'
import { readCertificates } from '../host/listener/certificates.ts'
import type { Credential } from '../host/listener/certificates.ts'
import { listenTls, type TlsListener } from '../host/listener/tls.ts'
import { WatchedCertificates } from '../host/listener/watched-certificates.ts'
import { silentLog } from '../host/log.ts'
import { CertificateFolder, NO_OPENSSL } from './listener/certificates.ts'
import { Client, get } from './listener/client.ts'
import { hello } from './listener/stage.ts'
import { eventually } from './served.ts'

interface Handshake {
  subject: string
  version: string | null
  alpn: string | false | null
}

/** Rejects where the server refuses. */
function shake(port: number, options: ConnectionOptions = {}): Promise<Handshake> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options })
    socket.once('error', reject)
    socket.once('secureConnect', () => {
      const { CN } = socket.getPeerCertificate().subject as { CN: string }
      resolve({ subject: CN, version: socket.getProtocol(), alpn: socket.alpnProtocol })
      socket.destroy()
    })
  })
}

describe('TLS', { skip: NO_OPENSSL, timeout: 120_000 }, () => {
  const folder = new CertificateFolder()
  after(() => folder.remove())

  describe('a listener', () => {
    let credentials: Credential[]
    let listener: TlsListener
    before(async () => {
      credentials = await readCertificates([
        folder.make('first', ['first.test']),
        folder.make('wild', ['*.wild.test', 'wild.test', 'Upper.Test'], { rsa: true }),
        folder.make('exact', ['www.wild.test']),
      ])
      listener = await listenTls({ port: 0, address: '127.0.0.1', handler: hello, tls: { credentials } })
    })
    after(() => listener.close(0))

    test('gives each name its certificate, and the first one to others', async () => {
      const names: [string | undefined, string][] = [
        ['first.test', 'first'],
        ['a.wild.test', 'wild'],
        ['A.Wild.TEST', 'wild'],
        ['wild.test', 'wild'],
        ['upper.test', 'wild'],
        ['www.wild.test', 'exact'],
        ['a.b.wild.test', 'first'],
        ['other.test', 'first'],
        [undefined, 'first'],
      ]
      for (const [servername, subject] of names) {
        const shaken = await shake(listener.port, servername === undefined ? {} : { servername })
        assert.equal(shaken.subject, subject, servername)
      }
    })

    test('speaks TLS 1.2 and 1.3, and nothing below; no weak cipher', async () => {
      assert.equal((await shake(listener.port)).version, 'TLSv1.3')
      assert.equal((await shake(listener.port, { maxVersion: 'TLSv1.2' })).version, 'TLSv1.2')
      const old = { ciphers: 'DEFAULT@SECLEVEL=0', minVersion: 'TLSv1' } as const
      for (const maxVersion of ['TLSv1', 'TLSv1.1'] as const) {
        await assert.rejects(shake(listener.port, { ...old, maxVersion }), /protocol version/)
      }
      for (const ciphers of ['AES128-SHA', 'ECDHE-RSA-AES128-SHA', 'AES128-GCM-SHA256', 'ECDHE-RSA-AES256-SHA384']) {
        const weak = { ciphers: `${ciphers}:@SECLEVEL=0`, maxVersion: 'TLSv1.2', servername: 'wild.test' } as const
        await assert.rejects(shake(listener.port, weak), /handshake failure/, ciphers)
      }
    })

    test('speaks TLS 1.3 alone where it is told to, whatever name is asked for', async () => {
      const own = await listenTls({ port: 0, address: '127.0.0.1', handler: hello, tls: { credentials, minVersion: '1.3' } })
      for (const servername of ['first.test', 'wild.test']) {
        assert.equal((await shake(own.port, { servername })).version, 'TLSv1.3')
        await assert.rejects(shake(own.port, { servername, maxVersion: 'TLSv1.2' }), /protocol version/)
      }
      await own.close(0)
    })

    test('prefers HTTP/2, takes HTTP/1.1, and refuses what it does not speak', async () => {
      const offers: [string[] | undefined, string | false][] = [
        [['http/1.1', 'h2'], 'h2'],
        [['h2'], 'h2'],
        [['http/1.1'], 'http/1.1'],
        [undefined, false],
      ]
      for (const [ALPNProtocols, alpn] of offers) {
        const shaken = await shake(listener.port, ALPNProtocols === undefined ? {} : { ALPNProtocols })
        assert.equal(shaken.alpn, alpn)
      }
      await assert.rejects(shake(listener.port, { ALPNProtocols: ['spdy/3'] }), /no application protocol/)
    })

    test('ends what is no TLS, and serves on', async () => {
      for (const bytes of ['GET / HTTP/1.1\r\nHost: a\r\n\r\n', '\x16\x03\x01\x00\x05hello', 'x'.repeat(100_000)]) {
        const client = await Client.open(listener.port)
        client.send(bytes)
        await client.closed()
      }
      assert.equal((await shake(listener.port)).subject, 'first')
    })

    test('takes new certificates for new handshakes; open connections go on, and bad ones change nothing', async () => {
      const open = await Client.openTls(listener.port)
      const renewed = await readCertificates([folder.make('renewed', ['renewed.test'])])
      listener.renew(renewed)
      assert.equal((await shake(listener.port)).subject, 'renewed')
      assert.equal((await shake(listener.port, { servername: 'wild.test' })).subject, 'renewed')
      assert.throws(() => listener.renew([{ ...renewed[0]!, key: credentials[0]!.key }]))
      assert.throws(() => listener.renew([]))
      assert.equal((await shake(listener.port)).subject, 'renewed')
      open.send(get())
      assert.equal((await open.answer())!.body.toString(), 'hello')
      open.close()
      listener.renew(credentials)
    })
  })

  describe('files that cannot be used name themselves and what to do:', () => {
    const cases: [string, () => { cert: string; key: string }, RegExp][] = [
      [
        'no certificate there',
        () => ({ ...folder.make('a', ['a.test']), cert: folder.file('none.crt') }),
        /none\.crt does not exist.*certificate/,
      ],
      [
        'no key there',
        () => ({ ...folder.make('a', ['a.test']), key: folder.file('none.key') }),
        /none\.key does not exist.*key/,
      ],
      ['a folder', () => ({ ...folder.make('a', ['a.test']), key: folder.path }), /cannot be read \(EISDIR\)/],
      [
        'nonsense',
        () => (writeFileSync(folder.file('x.crt'), 'hello'), { ...folder.make('a', ['a.test']), cert: folder.file('x.crt') }),
        /x\.crt is no certificate in PEM/,
      ],
      [
        'a broken certificate',
        () => (
          writeFileSync(folder.file('y.crt'), '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'),
          { ...folder.make('a', ['a.test']), cert: folder.file('y.crt') }
        ),
        /y\.crt is no certificate/,
      ],
      [
        'a key for a certificate',
        () => {
          const pair = folder.make('a', ['a.test'])
          return { cert: pair.key, key: pair.key }
        },
        /a\.key is no certificate/,
      ],
      [
        'a certificate for a key',
        () => {
          const pair = folder.make('a', ['a.test'])
          return { cert: pair.cert, key: pair.cert }
        },
        /a\.crt is no private key in PEM/,
      ],
      [
        'another key',
        () => ({ cert: folder.make('a', ['a.test']).cert, key: folder.make('b', ['b.test']).key }),
        /b\.key is not the key of the certificate .*a\.crt/,
      ],
      [
        'a passphrase',
        () => {
          const pair = folder.make('a', ['a.test'])
          folder.openssl('pkcs8', '-topk8', '-in', pair.key, '-out', 'locked.key', '-passout', 'pass:secret')
          return { cert: pair.cert, key: folder.file('locked.key') }
        },
        /locked\.key has a passphrase.*openssl pkey -in/,
      ],
    ]
    for (const [name, files, message] of cases) {
      test(name, async () => {
        await assert.rejects(readCertificates([files()]), { code: 'invalid_config', message })
      })
    }

    test('expired, or not yet valid', async () => {
      const pair = folder.make('old', ['old.test'], { days: 1 })
      const day = 86_400_000
      await readCertificates([pair])
      await assert.rejects(readCertificates([pair], Date.now() + 2 * day), {
        code: 'invalid_config',
        message: /old\.crt expired on .*Renew/,
      })
      await assert.rejects(readCertificates([pair], Date.now() - 2 * day), {
        code: 'invalid_config',
        message: /valid only from .*clock/,
      })
    })

    test('no name, where it is not the first', async () => {
      const nameless = folder.make('nameless', [])
      assert.deepEqual((await readCertificates([nameless]))[0]!.names, [])
      await assert.rejects(readCertificates([folder.make('a', ['a.test']), nameless]), { message: /nameless\.crt names no host/ })
    })
  })

  test('files that change are read again once they are whole; a bad pair keeps the old one and says so', async () => {
    const current = folder.file('current')
    const version = (name: string): void => {
      mkdirSync(folder.file(name))
      const pair = folder.make(name, [`${name}.test`])
      renameSync(pair.cert, `${folder.file(name)}/tls.crt`)
      renameSync(pair.key, `${folder.file(name)}/tls.key`)
    }
    version('one')
    version('two')
    symlinkSync(folder.file('one'), current)
    const errors: string[] = []
    const taken: string[][] = []
    const log = silentLog()
    log.error = (fields: { err: Error }) => void errors.push(fields.err.message)
    const files = [{ cert: `${current}/tls.crt`, key: `${current}/tls.key` }]
    const watched = await WatchedCertificates.open(files, log, (next) => taken.push(next[0]!.names), 10)
    // As Kubernetes does it: a link moves.
    symlinkSync(folder.file('two'), folder.file('next'))
    renameSync(folder.file('next'), current)
    await eventually('the second is taken', async () => taken.length === 1)
    // One of the two files alone.
    copyFileSync(`${folder.file('one')}/tls.crt`, `${folder.file('two')}/tls.crt`)
    await eventually('the log says so', async () => errors.length === 1)
    assert.match(errors[0]!, /tls\.key is not the key of the certificate/)
    assert.deepEqual(watched.credentials[0]!.names, ['two.test'])
    await assert.rejects(watched.reload(), { code: 'invalid_config' })
    copyFileSync(`${folder.file('one')}/tls.key`, `${folder.file('two')}/tls.key`)
    await eventually('the whole pair is taken', async () => taken.length === 2)
    assert.deepEqual(taken, [['two.test'], ['one.test']])
    assert.equal(errors.length, 1)
    await watched.close()
    assert.ok(existsSync(current))
  })
})
