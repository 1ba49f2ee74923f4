/** `skep serve` with certificates: two workers, renewal, reload, drain, mistakes. */
import assert from 'node:assert/strict'
import { copyFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { connect as connectH2 } from 'node:http2'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { connect } from 'node:tls'
import { CertificateFolder, NO_OPENSSL } from './listener/certificates.ts'
import { eventually, startServed, temporaryFolder } from './served.ts'

const CODE = 'export default { fetch: (request) => new Response(request.url + " " + request.headers.get("host")) }'

function subject(port: number, servername: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', servername, rejectUnauthorized: false })
    socket.once('error', reject)
    socket.once('secureConnect', () => {
      resolve((socket.getPeerCertificate().subject as { CN: string }).CN)
      socket.destroy()
    })
  })
}

/** One request over HTTP/2, on a connection of its own. */
function ask(port: number, host: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const session = connectH2(`https://127.0.0.1:${port}`, { servername: host, rejectUnauthorized: false })
    session.once('error', reject)
    const stream = session.request({ ':path': '/x', ':authority': host })
    let text = ''
    stream.setEncoding('utf8')
    stream.on('data', (chunk) => (text += chunk))
    stream.once('error', reject)
    stream.once('end', () => {
      session.destroy()
      resolve(text)
    })
  })
}

describe('skep serve with TLS', { skip: NO_OPENSSL, timeout: 120_000 }, () => {
  const folder = new CertificateFolder()
  after(() => folder.remove())

  test('functions answer over HTTP/2; certificates are renewed in every worker; SIGHUP loses no request; a drain ends it', async (t) => {
    const data = await temporaryFolder(t)
    const entry = join(data, 'hello.ts')
    await writeFile(entry, CODE)
    const used = folder.make('one', ['tls.test'])
    const config = join(data, 'skep.host.yaml')
    // Relative to the file that names them.
    copyFileSync(used.cert, join(data, 'tls.crt'))
    copyFileSync(used.key, join(data, 'tls.key'))
    await writeFile(config, `tls: { port: 0, minVersion: 1.2, certificates: [{ cert: tls.crt, key: tls.key }] }\nworkers: 2\n`)
    const served = await startServed({ data, args: ['--config', config] })
    t.after(() => served.stop())
    await served.skep('deploy', entry, '--name', 'hello', '--host', 'tls.test')
    const port = Number(/:(\d+)$/.exec(await served.logged(/^Functions over TLS/))![1])
    assert.equal(await ask(port, 'tls.test'), 'https://tls.test/x tls.test')
    assert.equal((await served.get('tls.test', '/x')).text, 'http://tls.test/x tls.test')

    const two = folder.make('two', ['tls.test'])
    copyFileSync(two.cert, join(data, 'tls.crt'))
    copyFileSync(two.key, join(data, 'tls.key'))
    await eventually(
      'both workers have the new one',
      async () => {
        const seen = await Promise.all(Array.from({ length: 20 }, () => subject(port, 'tls.test')))
        return seen.every((name) => name === 'two')
      },
      30_000,
    )

    // A pair that does not belong together: nothing of the reload is taken over.
    copyFileSync(used.key, join(data, 'tls.key'))
    const before = (await served.status()).pids
    served.process.kill('SIGHUP')
    await served.logged(/not reloaded; the old one stays/)
    assert.deepEqual((await served.status()).pids, before)
    assert.equal(await subject(port, 'tls.test'), 'two')

    copyFileSync(used.cert, join(data, 'tls.crt'))
    const load = { goes: true }
    const clients = Promise.all(
      Array.from({ length: 2 }, async () => {
        while (load.goes) assert.equal(await ask(port, 'tls.test'), 'https://tls.test/x tls.test')
      }),
    )
    served.process.kill('SIGHUP')
    await served.logged(/configuration reloaded/)
    load.goes = false
    await clients
    assert.equal(await subject(port, 'tls.test'), 'one')

    const session = connectH2(`https://127.0.0.1:${port}`, { servername: 'tls.test', rejectUnauthorized: false })
    const goaway = new Promise<number>((resolve) => session.once('goaway', resolve))
    await new Promise((resolve) => session.once('connect', resolve))
    served.process.kill('SIGTERM')
    assert.equal(await goaway, 0)
    assert.deepEqual(await served.exited, { code: 0, signal: null })
  })

  test('a certificate that cannot be used, or a port that is taken, stops the start and says why', async (t) => {
    const data = await temporaryFolder(t)
    const pair = folder.make('a', ['a.test'])
    const other = folder.make('b', ['b.test'])
    const cases: [string[], RegExp][] = [
      [['--tls-certificates', JSON.stringify([{ cert: pair.cert, key: other.key }])], /b\.key is not the key of the certificate/],
      [['--tls-certificates', JSON.stringify([{ cert: '/nowhere.crt', key: pair.key }])], /\/nowhere\.crt does not exist/],
      [['--tls-certificates', 'a.crt'], /tls\.certificates must be a list/],
      [['--tls-certificates', JSON.stringify([{ cert: pair.cert }])], /tls\.certificates must be/],
      [['--tls-certificates', JSON.stringify([pair]), '--tls-min-version', '1.1'], /tls\.minVersion must be one of 1\.2, 1\.3/],
    ]
    for (const [args, message] of cases) {
      await assert.rejects(startServed({ data, args }), message)
    }
  })
})
