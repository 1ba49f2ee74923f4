import assert from 'node:assert/strict'
import type { LookupAddress } from 'node:dns'
import { isIP } from 'node:net'
import { suite, test } from 'node:test'
import {
  FORBIDDEN_ADDRESSES,
  FORBIDDEN_NAMES,
  INVALID_URLS,
  NOTATIONS,
  PUBLIC_ADDRESSES,
} from '../../test/sandbox/forbidden-urls.ts'
import { createAgent } from './connect.ts'
import type { Dial } from './connect.ts'
import type { Egress } from './egress.ts'
import { explain, OutboundFetch } from './fetch.ts'
import { Network } from './network.ts'
import { readRequest } from './request.ts'

/** Everything up to the socket is real: `fetch`, undici's pools, the connect hook. Nothing is resolved or dialled. */
interface Attempt {
  message: string
  /** Addresses that would have been dialled. */
  dialled: string[]
  /** Names that DNS was asked for. */
  asked: string[]
}

async function attempt(
  url: string,
  options: { answers?: string[][]; lists?: Partial<Egress> & { tenant?: Partial<Egress> } } = {},
): Promise<Attempt> {
  const dialled: string[] = []
  const asked: string[] = []
  const answers = options.answers ?? []
  const resolve = (name: string, callback: (error: Error | null, addresses: LookupAddress[]) => void) => {
    const addresses = (answers[Math.min(asked.length, answers.length - 1)] ?? []).map((address) => ({
      address,
      family: isIP(address),
    }))
    asked.push(name)
    process.nextTick(callback, addresses.length === 0 ? Object.assign(new Error('none'), { code: 'ENOTFOUND' }) : null, addresses)
  }
  const dial: Dial = (built) => (connecting, callback) => {
    const done = (addresses: string[]) => {
      dialled.push(...addresses)
      callback(new Error('dialled'), null)
    }
    const hostname = connecting.hostname.replace(/^\[|\]$/g, '')
    const { lookup } = built as { lookup: (...args: unknown[]) => void }
    if (isIP(hostname) !== 0) done([hostname])
    else
      lookup(hostname, { all: true }, (error: Error | null, addresses: LookupAddress[]) =>
        error === null ? done(addresses.map(({ address }) => address)) : callback(error, null),
      )
  }
  const { tenant, ...host } = options.lists ?? {}
  const network = new Network({ allow: [], deny: [], ...host }, { resolve, dial }).enter('acme', {
    allow: [],
    deny: [],
    ...tenant,
  })
  const agent = createAgent(network)
  const message = await new Promise<string>((resolve) => {
    const fail = (_: string, text: string) => resolve(text)
    const ignore = () => {}
    try {
      const argument = { method: 'GET', url, redirect: 'follow', headers: [], body: null, streamed: false }
      const request = readRequest(argument, '', 'skep-test')
      new OutboundFetch(request, network, { done: ignore, chunk: ignore, ended: ignore, credit: ignore, failed: fail }).begin(
        agent,
      )
    } catch (error) {
      resolve(explain(error, url))
    }
  })
  await agent.destroy()
  return { message, dialled, asked }
}

const refused = /refused: .* is not a public address$/

suite('the connect hook', () => {
  test('addresses of every special range are not dialled', async () => {
    for (const address of FORBIDDEN_ADDRESSES) {
      const url = `http://${isIP(address) === 6 ? `[${address}]` : address}/`
      const { message, dialled, asked } = await attempt(url)
      assert.match(message, refused, address)
      assert.deepEqual([dialled, asked], [[], []], address)
    }
  })

  test('nor those in any other notation', async () => {
    assert.ok(NOTATIONS.length >= 250)
    for (const { how, host } of NOTATIONS) {
      for (const port of ['', ':8080']) {
        const { message, dialled, asked } = await attempt(`http://${host}${port}/`)
        assert.match(message, refused, how)
        assert.deepEqual([dialled, asked], [[], []], how)
      }
    }
    const { message, dialled } = await attempt('https://0x7f.1/')
    assert.deepEqual([refused.test(message), dialled], [true, []])
  })

  test('names of this machine and of metadata services are not even looked up', async () => {
    for (const name of FORBIDDEN_NAMES) {
      const { message, dialled, asked } = await attempt(`http://${name}/`, { answers: [['8.8.8.8']] })
      assert.match(message, refused, name)
      assert.deepEqual([dialled, asked], [[], []], name)
    }
  })

  test('what is no URL, or of another protocol, ends before', async () => {
    for (const url of INVALID_URLS) {
      const { message, dialled, asked } = await attempt(url, { answers: [['8.8.8.8']] })
      assert.match(message, /URL is not valid|only http: and https: URLs|user name or password/, JSON.stringify(url))
      assert.deepEqual([dialled, asked], [[], []], url)
    }
  })

  test('public addresses are dialled, in any notation', async () => {
    for (const address of PUBLIC_ADDRESSES) {
      const { message, dialled } = await attempt(`http://${isIP(address) === 6 ? `[${address}]` : address}/`)
      assert.match(message, /failed: dialled/, address)
      assert.deepEqual(dialled, [address])
    }
    assert.deepEqual((await attempt('http://0x08080808/')).dialled, ['8.8.8.8'])
    assert.deepEqual((await attempt('http://[::ffff:808:808]/')).dialled, ['::ffff:808:808'])
  })

  test('a name is judged by each of its addresses, and only those that may be are tried', async () => {
    for (const address of FORBIDDEN_ADDRESSES) {
      const only = await attempt('http://name.example/', { answers: [[address]] })
      assert.match(only.message, refused, address)
      const mixed = await attempt('http://name.example/', { answers: [[address, '93.184.216.34', address, '2606:4700::1']] })
      assert.deepEqual([only.dialled, mixed.dialled], [[], ['93.184.216.34', '2606:4700::1']], address)
    }
    // A resolver that reads numbers its own way finds no gap either.
    assert.match((await attempt('http://name.example/', { answers: [['::ffff:7f00:1']] })).message, refused)
  })

  test('a name that changes its address between judging and dialling finds no second look-up', async () => {
    const { dialled, asked } = await attempt('http://rebind.example/', { answers: [['93.184.216.34'], ['127.0.0.1']] })
    assert.deepEqual([dialled, asked], [['93.184.216.34'], ['rebind.example']])
  })

  test("operators' lists hold for names and addresses alike", async () => {
    const answers = [['10.0.0.7']]
    assert.deepEqual((await attempt('http://db.corp:8080/', { answers, lists: { allow: ['db.corp:8080'] } })).dialled, [
      '10.0.0.7',
    ])
    assert.deepEqual((await attempt('http://db.corp/', { answers, lists: { tenant: { allow: ['*.corp'] } } })).dialled, [
      '10.0.0.7',
    ])
    assert.deepEqual((await attempt('http://db.corp/', { answers, lists: { allow: ['10.0.0.0/8'] } })).dialled, ['10.0.0.7'])
    const denied = await attempt('http://a.evil.example/', { answers: [['8.8.8.8']], lists: { deny: ['*.evil.example'] } })
    assert.match(denied.message, /denied by the operator/)
    assert.deepEqual([denied.dialled, denied.asked], [[], []])
    const byAddress = await attempt('http://x.example/', { answers: [['8.8.8.8']], lists: { tenant: { deny: ['8.8.8.0/24'] } } })
    assert.match(byAddress.message, /denied to this tenant/)
    assert.deepEqual((await attempt('http://a.localhost:9000/', { lists: { allow: ['127.0.0.1:9000'] } })).dialled, ['127.0.0.1'])
    const own = await attempt('http://localhost:8081/', { lists: { allow: ['localhost', '127.0.0.0/8'], ownPorts: [8081] } })
    assert.match(own.message, /this host itself/)
  })

  test('a name that does not exist says so', async () => {
    assert.match((await attempt('http://nowhere.example/')).message, /ENOTFOUND/)
  })
})
