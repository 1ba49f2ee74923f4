import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'

const root = join(import.meta.dirname, '..')

/** fetch() does not let a caller choose the Host header. */
function send(url: string, host: string, body?: string): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const sent = request(
      url,
      { method: body === undefined ? 'GET' : 'POST', headers: { host, connection: 'close' } },
      async (response) => {
        let text = ''
        for await (const chunk of response.setEncoding('utf8')) text += chunk as string
        resolve({ status: response.statusCode!, text })
      },
    )
    sent.on('error', reject)
    sent.end(body)
  })
}

for (const [name, greeting, posted] of [
  ['embed-node', 'Hello from /', undefined],
  ['embed-express', 'Hello, nobody', 'Hello, Ada'],
  ['embed-fastify', 'Hello, nobody', 'Hello, Ada'],
] as const) {
  test(
    `examples/${name} serves its own routes and the functions, and stops when it is told to`,
    { timeout: 20_000 },
    async (t) => {
      const data = await mkdtemp(join(tmpdir(), 'skep-embed-'))
      const child = spawn(process.execPath, ['--conditions=skep-source', join(root, 'examples', name, 'server.ts')], {
        cwd: data,
        env: { PATH: process.env.PATH, PORT: '0', DATA: data },
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      const exited = once(child, 'exit')
      t.after(async () => {
        child.kill('SIGKILL')
        await exited
        await rm(data, { recursive: true, force: true })
      })
      const [url] = (await once(createInterface(child.stdout), 'line')) as [string]
      assert.deepEqual(await send(`${url}/`, 'hello.localhost'), { status: 200, text: `${greeting}\n` })
      if (posted !== undefined)
        assert.deepEqual(await send(`${url}/`, 'hello.localhost', 'Ada'), { status: 200, text: `${posted}\n` })
      assert.deepEqual(await send(`${url}/health`, 'localhost'), { status: 200, text: 'ok\n' })
      assert.equal((await send(`${url}/`, 'other.localhost')).status, 404)
      child.kill('SIGTERM')
      assert.deepEqual(await exited, [0, null])
    },
  )
}
