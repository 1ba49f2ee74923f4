import assert from 'node:assert/strict'
import { networkInterfaces } from 'node:os'
import { suite, test } from 'node:test'
import { EgressRules } from './egress.ts'

const rules = (allow: string[] = [], deny: string[] = []) => new EgressRules({ allow, deny })
const refused = (address: string, egress = rules()) => egress.refusal(address, 80, address) !== ''

suite('addresses that functions may reach', () => {
  test('public ones', () => {
    for (const address of [
      '1.1.1.1',
      '8.8.8.8',
      '93.184.216.34',
      '172.15.255.255',
      '172.32.0.0',
      '100.63.255.255',
      '100.128.0.0',
      '169.253.255.255',
      '192.0.1.0',
      '198.17.255.255',
      '198.20.0.0',
      '223.255.255.255',
      '2606:4700:4700::1111',
      '2a00:1450:4001::1',
      '2400:cb00::1',
    ]) {
      assert.equal(refused(address), false, address)
    }
  })

  test('none of the special ranges, from the first address to the last', () => {
    const ranges = `0.0.0.0 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.0 127.0.0.1 127.255.255.255
      169.254.0.0 169.254.169.254 169.254.170.2 169.254.255.255 172.16.0.0 172.31.255.255 192.0.0.0 192.0.0.192 192.0.0.255 192.0.2.0 192.0.2.255
      192.88.99.0 192.168.0.0 192.168.255.255 198.18.0.0 198.19.255.255 198.51.100.0 198.51.100.255 203.0.113.0 203.0.113.255
      224.0.0.0 239.255.255.255 240.0.0.0 255.255.255.255 100.100.100.200 168.63.129.16
      :: ::1 ::ffff:127.0.0.1 ::ffff:7f00:1 ::FFFF:10.0.0.1 ::ffff:8.8.8.8%lo ::127.0.0.1 ::ffff:0:127.0.0.1 64:ff9b::7f00:1 64:ff9b::10.0.0.1 64:ff9b:1::1 100::1
      2001::1 2001:0:7f00:1:: 2001:db8::1 2002:7f00:1:: 2002:a9fe:a9fe:: 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fd12:3456::1 fe80::1 fe80::1%eth0 fec0::1 ff02::1 ff05::2`
    for (const address of ranges.split(/\s+/)) if (address !== '::ffff:8.8.8.8%lo') assert.equal(refused(address), true, address)
  })

  test("not this machine's own", () => {
    for (const list of Object.values(networkInterfaces()))
      for (const { address } of list ?? []) assert.equal(refused(address), true, address)
  })

  test('what is allowed by address, network, name and port', () => {
    const egress = rules(['127.0.0.1:9000', '10.1.0.0/16', 'db.internal:5432', 'cache', '[fd00::1]:80', 'fd01::/16'])
    const may = (address: string, port: number, name = address) => egress.refusal(address, port, name) === ''
    assert.ok(may('127.0.0.1', 9000))
    assert.ok(may('::ffff:127.0.0.1', 9000))
    assert.ok(!may('127.0.0.1', 9001))
    assert.ok(!may('127.0.0.2', 9000))
    assert.ok(may('10.1.255.1', 1))
    assert.ok(!may('10.2.0.1', 1))
    assert.ok(may('192.168.0.9', 5432, 'DB.internal'))
    assert.ok(may('192.168.0.9', 5432, 'db.internal.'))
    assert.ok(!may('192.168.0.9', 5433, 'db.internal'))
    assert.ok(may('192.168.0.9', 1, 'cache'))
    assert.ok(!may('192.168.0.9', 1, 'cache.example'))
    assert.ok(may('fd00::1', 80))
    assert.ok(!may('fd00::1', 81))
    assert.ok(may('fd01:2::3', 81))
  })

  test('what is denied, also where it is allowed as well, and by its name with a dot', () => {
    const egress = rules(['10.0.0.0/8'], ['10.0.0.5', 'evil.example', '93.184.216.0/24:443'])
    assert.equal(refused('10.0.0.6', egress), false)
    assert.equal(refused('10.0.0.5', egress), true)
    assert.notEqual(egress.refusal('1.2.3.4', 80, 'evil.example'), '')
    assert.notEqual(egress.refusal('1.2.3.4', 80, 'Evil.Example.'), '')
    assert.notEqual(egress.refusal('93.184.216.34', 443, 'x'), '')
    assert.equal(egress.refusal('93.184.216.34', 80, 'x'), '')
  })

  test('entries that mean nothing are refused, by name', () => {
    for (const entry of [
      '',
      ' ',
      'a b',
      '10.0.0.0/33',
      '10.0.0.0/x',
      '10.0.0.1:99999',
      '[::1',
      'http://a',
      'a/b',
      '::1/129',
      'x:y',
    ]) {
      assert.throws(() => rules([entry]), { code: 'invalid_config' }, entry)
    }
  })
})
