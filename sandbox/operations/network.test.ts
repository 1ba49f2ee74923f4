import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { suite, test } from 'node:test'
import type { buildConnector } from 'undici'
import { createConnector } from './connect.ts'
import type { Dial } from './connect.ts'
import { Lookups } from './lookup.ts'
import type { Resolve } from './lookup.ts'
import { Network } from './network.ts'

const NONE = { allow: [], deny: [] }
const options = { hostname: '8.8.8.8', protocol: 'http:', port: '' } as buildConnector.Options

suite('what tenants share out', () => {
  test('sockets: a tenant has its own number of them, over all of its sandboxes', () => {
    const sockets: EventEmitter[] = []
    const dial: Dial = () => () => {
      const socket = new EventEmitter()
      sockets.push(socket)
      return socket
    }
    const network = new Network(NONE, { dial })
    const refusals: string[] = []
    const connect = (tenant: string) =>
      createConnector(network.enter(tenant, NONE))(options, (...[error]) => error !== null && refusals.push(error.message))
    for (let i = 0; i < 1_030; i++) connect('acme')
    assert.equal(sockets.length, 1_024)
    assert.deepEqual(new Set(refusals), new Set(['too many connections are open for this tenant']))
    connect('other')
    assert.equal(sockets.length, 1_025)
    sockets[0]!.emit('close')
    connect('acme')
    assert.equal(sockets.length, 1_026)
  })

  test('look-ups: two of a tenant at a time, in order; nobody waits for another tenant', () => {
    const asked: string[] = []
    const answers = new Map<string, Parameters<Resolve>[1]>()
    const resolve: Resolve = (name, callback) => {
      asked.push(name)
      answers.set(name, callback)
    }
    const found: string[] = []
    const [acme, other] = [new Lookups(resolve), new Lookups(resolve)]
    for (const name of ['a', 'b', 'c', 'd'])
      acme.find(name, (error) => found.push(`${name} ${error === null ? 'found' : 'failed'}`))
    other.find('z', () => found.push('z found'))
    assert.deepEqual(asked, ['a', 'b', 'z'])
    answers.get('b')!(new Error('none'), [])
    assert.deepEqual([asked.at(-1), found], ['c', ['b failed']])
    answers.get('a')!(null, [])
    answers.get('c')!(null, [])
    answers.get('d')!(null, [])
    assert.deepEqual(found, ['b failed', 'a found', 'c found', 'd found'])
    acme.find('e', () => {})
    assert.equal(asked.at(-1), 'e')
  })

  test('memory for unpacking', () => {
    const network = new Network(NONE)
    const [acme, other] = [network.enter('acme', NONE), network.enter('other', NONE)]
    assert.ok(acme.takeWindow(400_000_000))
    assert.ok(!acme.takeWindow(200_000_000))
    assert.ok(other.takeWindow(200_000_000))
    acme.returnWindow(400_000_000)
    assert.ok(acme.takeWindow(200_000_000))
  })

  test('a tenant is remembered for as long as it has a sandbox', () => {
    const network = new Network(NONE)
    const first = network.enter('acme', NONE)
    assert.equal(network.enter('acme', { allow: [], deny: [] }), first)
    assert.notEqual(network.enter('other', NONE), first)
    assert.notEqual(network.enter('acme', { allow: [], deny: ['8.8.8.8'] }), first)
    first.leave()
    assert.equal(network.tenants, 3)
    first.leave()
    assert.equal(network.tenants, 2)
    assert.notEqual(network.enter('acme', NONE), first)
  })
})
